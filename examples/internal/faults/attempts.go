package faults

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/enclavepool/enclavepool/internal/target"
)

// attempt is one attempt to connect.
type attempt struct {
	target     string
	begin, end time.Time // zero end: under way
	err        error
}

// attempts dials as the pool does by itself, and keeps account of it.
type attempts struct {
	// before, if it is not nil, is called first, and an error of its is the attempt's.
	before func(ctx context.Context, target string) error

	mu   sync.Mutex
	list []attempt
}

// dial is for pool.WithDialer.
func (a *attempts) dial(ctx context.Context, address string) (net.Conn, error) {
	a.mu.Lock()
	i := len(a.list)
	a.list = append(a.list, attempt{target: address, begin: time.Now()})
	a.mu.Unlock()
	conn, err := a.connect(ctx, address)
	a.mu.Lock()
	a.list[i].end, a.list[i].err = time.Now(), err
	a.mu.Unlock()
	return conn, err
}

func (a *attempts) connect(ctx context.Context, address string) (net.Conn, error) {
	if a.before != nil {
		if err := a.before(ctx, address); err != nil {
			return nil, err
		}
	}
	t, err := target.Parse(address)
	if err != nil {
		return nil, err
	}
	return t.Dial(ctx)
}

// begun are the attempts on a target that began from one moment until another.
func (a *attempts) begun(address string, from, until time.Time) []attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []attempt
	for _, t := range a.list {
		if t.target == address && !t.begin.Before(from) && t.begin.Before(until) {
			out = append(out, t)
		}
	}
	return out
}

// busiest is the greatest number of the attempts that began within a window of the length.
func busiest(list []attempt, length time.Duration) (most int) {
	first := 0
	for i, t := range list {
		for t.begin.Sub(list[first].begin) >= length {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// giveUp is how long it may take until an attempt that was given up is seen to have ended.
const giveUp = 10 * time.Millisecond

// atOnce is the greatest number of the attempts that were under way at the same time, for longer than the grace.
func atOnce(list []attempt, grace time.Duration) (most int) {
	var ends []time.Time
	for _, t := range list {
		ends = slices.DeleteFunc(ends, func(end time.Time) bool { return !end.IsZero() && !end.After(t.begin.Add(grace)) })
		ends = append(ends, t.end)
		most = max(most, len(ends))
	}
	return most
}
