package pool

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// An exchange has to end with its caller's context, and the stream's own
// context knows nothing of it. context.AfterFunc would see to that at the price
// of five allocations and a tenth of the exchange. So the exchanges in flight
// are looked at every sweepPause, all at once, and only one that goes on for
// watchAfter of these gets an AfterFunc, which is exact. Nothing is looked at
// while nothing is in flight.
const (
	sweepPause = time.Millisecond
	watchAfter = 16
)

// watch is what one stream knows of the exchange it carries. The lock is the
// holder's and the sweeper's.
type watch struct {
	mu       sync.Mutex
	ctx      context.Context // nil: nothing to look at
	deadline time.Time       // of a caller who brought none; zero: no such
	age      int             // sweeps since it began
	stop     func() bool     // ends the AfterFunc
	timer    *time.Timer     // at deadline
	fired    fired
}

// fired is why a stream was reset in the middle of an exchange.
type fired uint8

const (
	notFired    fired = iota
	callerEnded       // its caller's context or deadline
	cutOff            // Streams.Close
	connLost          // its connection is gone, and gRPC has not ended it
)

// begin watches ctx, and deadline if it is not zero, for s.
func (s *warmStream) begin(ctx context.Context, deadline time.Time) {
	s.used.Add(1)
	if s.set.e.dozing.Load() {
		s.set.e.wakeKeeper()
	}
	w := &s.watch
	w.mu.Lock()
	w.ctx, w.deadline, w.age = ctx, deadline, 0
	w.mu.Unlock()
	s.set.sweep.start()
}

// over ends the watch, and says whether the stream was reset, or is about to be.
func (s *warmStream) over() fired {
	w := &s.watch
	w.mu.Lock()
	w.ctx = nil
	if w.stop != nil && !w.stop() || w.timer != nil && !w.timer.Stop() {
		w.fireLocked(callerEnded) // it has begun, and would hit the next exchange
	}
	w.stop, w.timer = nil, nil
	f := w.fired
	w.mu.Unlock()
	return f
}

// fire notes why the stream is being reset; the first reason stays.
func (w *watch) fire(why fired) {
	w.mu.Lock()
	w.fireLocked(why)
	w.mu.Unlock()
}

func (w *watch) fireLocked(why fired) {
	if w.fired == notFired {
		w.fired = why
	}
}

// expire resets the stream in the middle of an exchange.
func (s *warmStream) expire() {
	s.watch.fire(callerEnded)
	s.cancel()
}

// look is the sweeper's: it resets the stream if the exchange has lasted long
// enough, and tells whether it has to be looked at again.
func (s *warmStream) look(now time.Time) (again bool) {
	w := &s.watch
	w.mu.Lock()
	switch {
	case w.ctx == nil || w.fired != notFired:
	case w.ctx.Err() != nil || !w.deadline.IsZero() && !now.Before(w.deadline):
		w.fired = callerEnded
		w.mu.Unlock()
		s.cancel()
		return false
	case w.age < watchAfter:
		w.age++
		again = true
	default:
		if w.ctx.Done() != nil { // not asked before: the first Done of a context allocates
			w.stop = context.AfterFunc(w.ctx, s.expire)
		}
		if !w.deadline.IsZero() {
			w.timer = time.AfterFunc(w.deadline.Sub(now), s.expire)
		}
		w.ctx = nil
	}
	w.mu.Unlock()
	return again
}

// sweeper looks at a set's exchanges while there are any.
type sweeper struct {
	set   *warmSet
	on    atomic.Bool
	timer *time.Timer
}

func (w *sweeper) init(t *warmSet) {
	w.set = t
	w.timer = time.AfterFunc(time.Hour, w.run)
	w.timer.Stop()
}

// start is called after an exchange has shown itself.
func (w *sweeper) start() {
	if !w.on.Load() && w.on.CompareAndSwap(false, true) {
		w.timer.Reset(sweepPause)
	}
}

func (w *sweeper) run() {
	if w.round() {
		w.timer.Reset(sweepPause)
		return
	}
	// Announced; now the look: an exchange that began before is seen here, and
	// one that begins after sees that nobody sweeps.
	w.on.Store(false)
	if w.round() {
		w.start()
	}
}

// round looks at every stream once.
func (w *sweeper) round() (again bool) {
	now := time.Now()
	for _, s := range *w.set.all.Load() {
		if s.look(now) {
			again = true
		}
	}
	return again
}
