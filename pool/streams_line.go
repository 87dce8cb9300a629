package pool

import (
	"context"
	"fmt"
	"time"
)

// streamWaiter is one caller who waits for a stream. While a place is free it
// waits in the enclave's queue, for a slot to open a stream with, and a stream
// that is released ends that; with the maximum open it only waits.
type streamWaiter struct {
	prev, next *streamWaiter
	queued     bool
	// served gets one value when one of the fields after it has been set.
	// Capacity 1. Nobody reads it who waits in the enclave's queue.
	served chan struct{}
	stream *warmStream // a stream
	open   bool        // a place to open one
	err    error
	// patience is how long it waits while the enclave is lost.
	patience patience

	cancel context.CancelFunc // ends its wait in the enclave's queue; nil: it is not there
}

// streamLine is a list of waiters, oldest first. The set's lock guards it.
type streamLine struct {
	head, tail *streamWaiter
	n          int
	opening    int // how many of them wait in the enclave's queue
}

func (q *streamLine) first() *streamWaiter { return q.head }

// firstIdle returns the oldest that does not wait for a slot.
func (q *streamLine) firstIdle() *streamWaiter {
	for w := q.head; w != nil; w = w.next {
		if w.cancel == nil {
			return w
		}
	}
	return nil
}

func (q *streamLine) push(w *streamWaiter) {
	w.prev, w.next, w.queued = q.tail, nil, true
	if q.tail != nil {
		q.tail.next = w
	} else {
		q.head = w
	}
	q.tail = w
	q.count(w, 1)
}

// remove takes w out; false if it is not in the line any more.
func (q *streamLine) remove(w *streamWaiter) bool {
	if !w.queued {
		return false
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.tail = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.count(w, -1)
	return true
}

func (q *streamLine) count(w *streamWaiter, by int) {
	q.n += by
	if w.cancel != nil {
		q.opening += by
	}
}

// refuseLocked gives err to everyone who is no more patient than most and does
// not wait for a slot; those are told by the enclave's queue.
func (q *streamLine) refuseLocked(err error, most patience) {
	for w := q.head; w != nil; {
		next := w.next
		if w.cancel == nil && w.patience <= most {
			q.remove(w)
			w.err = err
			w.served <- struct{}{}
		}
		w = next
	}
}

// serveLocked gives w a stream.
func (t *warmSet) serveLocked(w *streamWaiter, s *warmStream) {
	t.line.remove(w)
	w.stream = s
	if w.cancel != nil {
		w.cancel()
	} else {
		w.served <- struct{}{}
	}
}

// acquire is pop for a caller who may wait, and open a stream.
func (t *warmSet) acquire(ctx context.Context, patience patience) (*warmStream, error) {
	refusal := t.e.refusal(patience)
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, &Error{EnclaveID: t.e.id, Reason: ErrClosed}
	}
	if s := t.popLocked(); s != nil {
		t.mu.Unlock()
		t.e.metrics.acquired(ctx, 0)
		return s, nil
	}
	if refusal != nil {
		t.mu.Unlock()
		return nil, refusal
	}
	if t.places < t.opts.max {
		t.places++
		t.mu.Unlock()
		return t.openFor(ctx, patience)
	}
	if err := ctx.Err(); err != nil {
		t.mu.Unlock()
		return nil, t.gaveUp(err, 0)
	}
	if waiters := t.line.n - t.line.opening; waiters >= t.e.cfg.Load().maxWaiters {
		t.mu.Unlock()
		return nil, t.exhausted(fmt.Errorf("all %d streams in use, %d of at most %d waiters queued", t.opts.max, waiters, t.e.cfg.Load().maxWaiters))
	}
	w := &streamWaiter{served: make(chan struct{}, 1), patience: patience}
	t.line.push(w)
	t.mu.Unlock()
	return t.wait(ctx, w)
}

// wait waits until w is served, or gives up its place in the line.
func (t *warmSet) wait(ctx context.Context, w *streamWaiter) (*warmStream, error) {
	start := time.Now()
	var timeout <-chan time.Time
	if d := t.e.cfg.Load().acquireTimeout; d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C
	}
	var gaveUp error
	select {
	case <-w.served:
	case <-ctx.Done():
		gaveUp = ctx.Err()
	case <-timeout:
		gaveUp = ErrExhausted
	}
	waited := time.Since(start)
	if gaveUp != nil {
		t.mu.Lock()
		queued := t.line.remove(w)
		t.mu.Unlock()
		if queued {
			t.e.metrics.waited(ctx, waited)
			if gaveUp == ErrExhausted {
				return nil, t.exhausted(fmt.Errorf("none of %d streams was free within AcquireTimeout (%v)", t.opts.max, t.e.cfg.Load().acquireTimeout))
			}
			return nil, t.gaveUp(gaveUp, waited)
		}
		<-w.served // at the same moment; what it got is kept
	}
	if w.open {
		return t.openFor(ctx, w.patience) // the slot's wait is recorded, as it has just begun
	}
	t.e.metrics.waited(ctx, waited)
	return w.stream, w.err
}

// gaveUp describes a caller whose context ended before it had a stream.
func (t *warmSet) gaveUp(err error, waited time.Duration) error {
	return &Error{EnclaveID: t.e.id, Reason: err,
		Cause: fmt.Errorf("none of %d streams was free after %v", t.opts.max, waited.Round(time.Microsecond))}
}

// exhausted counts and describes a caller turned away.
func (t *warmSet) exhausted(cause error) error {
	t.e.exhausted.Add(1)
	return &Error{EnclaveID: t.e.id, Reason: ErrExhausted, Cause: cause}
}
