// Package stall notices when this process does not get a processor although it wants one.
// It cannot say why, nor keep anything from stalling.
// Start reading with Watch.
package stall

import (
	"slices"
	"sync"
	"time"
)

const (
	// every is how often a Watch wants to run.
	every = 5 * time.Millisecond
	// Least is the shortest time that counts as a stall: half of what the pool gives an enclave to answer a health probe.
	Least = 25 * time.Millisecond
)

// Stall is a time in which a process that wanted to run did not.
type Stall struct{ From, To time.Time }

// Watch notes the stalls of this process. It is safe for concurrent use.
type Watch struct {
	mu   sync.Mutex
	list []Stall
	stop chan struct{}
	done chan struct{}
}

// Start begins a Watch; Stop ends it.
func Start() *Watch {
	w := &Watch{stop: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

func (w *Watch) run() {
	defer close(w.done)
	timer := time.NewTimer(every)
	defer timer.Stop()
	for last := time.Now(); ; {
		select {
		case <-timer.C:
		case <-w.stop:
			return
		}
		now := time.Now()
		if now.Sub(last) > every+Least {
			w.mu.Lock()
			w.list = append(w.list, Stall{last, now})
			w.mu.Unlock()
		}
		last = now
		timer.Reset(every)
	}
}

// Stalls are those noticed until now, in order. One that lasts still is not among them.
func (w *Watch) Stalls() []Stall {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.list)
}

// Stop ends the Watch.
func (w *Watch) Stop() {
	close(w.stop)
	<-w.done
}

// Sum returns how much of a time was lost to the stalls, and how long the longest of them was.
func Sum(stalls []Stall, from, to time.Time) (sum, longest time.Duration) {
	for _, s := range stalls {
		if s.To.After(from) && s.From.Before(to) {
			begin, end := s.From, s.To
			if begin.Before(from) {
				begin = from
			}
			if end.After(to) {
				end = to
			}
			sum, longest = sum+end.Sub(begin), max(longest, s.To.Sub(s.From))
		}
	}
	return sum, longest
}

// Within reports whether any of the stalls overlaps a time.
func Within(stalls []Stall, from, to time.Time) bool {
	return slices.ContainsFunc(stalls, func(s Stall) bool { return s.To.After(from) && s.From.Before(to) })
}
