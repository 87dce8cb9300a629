package routing

import (
	"sync/atomic"
	"time"
)

// away makes questions to a Directory that does not answer fail at once, instead
// of each waiting for its time-out: after one failed, one in every retry goes
// through to see, until one is answered.
type away struct {
	start time.Time
	retry time.Duration
	next  atomic.Int64 // since start, when the next may go through; 0: all may
}

func newAway(retry time.Duration) *away { return &away{start: time.Now(), retry: retry} }

// admit returns nil, or how long to wait.
func (a *away) admit() (wait time.Duration, ok bool) {
	next := a.next.Load()
	if next == 0 {
		return 0, true
	}
	now := int64(time.Since(a.start))
	if now < next {
		return time.Duration(next - now), false
	}
	// The one that moves the time on goes through.
	if a.next.CompareAndSwap(next, now+int64(a.retry)) {
		return 0, true
	}
	return a.retry, false
}

// answered says how a question that was admitted ended.
func (a *away) answered(unavailable bool) {
	switch {
	case unavailable:
		a.next.Store(int64(time.Since(a.start)) + int64(a.retry))
	case a.next.Load() != 0:
		a.next.Store(0)
	}
}
