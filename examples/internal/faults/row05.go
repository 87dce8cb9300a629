package faults

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/pool"
)

const (
	// fillers is how many calls fill the buffers of the connections to one enclave, padSize how much each of them sends as
	// metadata, which HTTP/2's flow control lets pass. Eight on a connection are several times what a socket holds.
	fillers = 8 * conns
	padSize = 16 << 10
	// buffer is what a socket is told to hold, so that it is filled in no time; Linux doubles it.
	buffer = 8 << 10
)

// row5 is row 4 with the sockets full: what is written to them then blocks. In every second repetition the pool is closed
// while it has not noticed yet.
var row5 = row{
	number: 5,
	fault:  "as 4 with full socket buffers",
	held:   "the same, and Close returns ≤ 50 ms",
	how: "256 calls with 16 KiB of metadata each fill the buffers of the 32 sockets of the frozen enclave (SO_SNDBUF 16 KiB), " +
		"which is checked with SIOCOUTQ. Close is called with a context that has ended, in repetitions of its own, 100 ms after SIGSTOP and " +
		"so before the pool knows.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, b, err := r.enclaves(ctx)
		if err != nil {
			return err
		}
		var s stuck
		var closing []time.Duration
		var cut calls
		fullest := newFullness()
		for range r.times(20, 1) {
			f, err := row5Freeze(ctx, r, a, b, fullest)
			if err != nil {
				return err
			}
			s.add(f)
			c, err := row5Close(ctx, r, a, fullest)
			if err != nil {
				return err
			}
			closing, cut = append(closing, c.took), append(cut, c.cut...)
		}
		s.report(res)
		res.timing("Close", closing, worst(50*time.Millisecond))
		kinds, wrong := cut.kinds(unavailable)
		res.Broken = append(res.Broken, wrong...)
		res.say("cut by Close: %s", kinds)
		res.say("%s", fullest)
		return nil
	},
}

// closed is what closing a pool with a frozen enclave has shown.
type closed struct {
	took time.Duration
	cut  calls
}

func row5Freeze(ctx context.Context, r *rig, a, b *stack.Enclave, fullest *fullness) (*frozen, error) {
	p, err := r.pool(ctx, config(a, b), pool.WithDialer(fullest.dial))
	if err != nil {
		return nil, err
	}
	defer closePool(p)
	fill, filled := filler(p, a.ID)
	f, err := freeze(ctx, r, p, a, b, func() error {
		fill()
		return sleep(ctx, 100*time.Millisecond)
	})
	if err != nil {
		return nil, err
	}
	f.failed = append(f.failed, filled().failed()...)
	_, err = awaitFull(ctx, p, a.ID)
	return f, err
}

func row5Close(ctx context.Context, r *rig, a *stack.Enclave, fullest *fullness) (*closed, error) {
	p, err := r.pool(ctx, config(a), pool.WithDialer(fullest.dial))
	if err != nil {
		return nil, err
	}
	if err := a.Freeze(); err != nil {
		return nil, err
	}
	defer a.Thaw() //nolint:errcheck // it fails only when the enclave has ended
	fill, filled := filler(p, a.ID)
	fill()
	err = sleep(ctx, 100*time.Millisecond)
	if err == nil {
		fullest.look(a.Target)
	}
	began := time.Now()
	closePool(p)
	return &closed{took: time.Since(began), cut: filled().failed()}, err
}

// filler returns a function that makes calls which fill the buffers on the way to an enclave, and one that waits for
// them.
func filler(p *pool.Pool, id string) (fill func(), filled func() calls) {
	var wg sync.WaitGroup
	made := make(calls, fillers)
	t := traffic{pool: p, choose: to(id), timeout: callTimeout, padding: padding}
	fill = func() {
		for i := range made {
			wg.Go(func() {
				made[i] = t.one()
				made[i].caller = i
			})
		}
	}
	return fill, func() calls {
		wg.Wait()
		return made
	}
}

var padding = func() string {
	// Not one letter over and over, which would be packed into nothing.
	b := make([]byte, 0, padSize)
	for i := 0; len(b) < padSize; i++ {
		b = fmt.Appendf(b, "%x.", i*2654435761)
	}
	return string(b[:padSize])
}()
