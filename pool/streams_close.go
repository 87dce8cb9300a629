package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Close lets nothing new in: callers that queue get ErrClosed at once, idle
// streams are closed. It waits for the streams in callers' hands until ctx
// ends; what is left then is reset, which fails its exchange with ErrClosed,
// and the error counts it: an *Error for each such enclave, with ctx's error as
// its Reason. The pool goes on. Calling it again returns nil at once.
//
// The pool's own Close closes warm streams too.
func (ss *Streams[Req, Res]) Close(ctx context.Context) error {
	ss.mu.Lock()
	sets := ss.sets
	closed := ss.closed
	ss.closed = true
	ss.mu.Unlock()
	if closed {
		return nil
	}
	if ss.err == nil {
		ss.pool.letCool(ss.warmStreams)
	}
	errs := make([]error, len(sets))
	var closing sync.WaitGroup
	for i, t := range sets {
		closing.Go(func() { errs[i] = t.close(ctx) })
	}
	closing.Wait()
	return errors.Join(errs...)
}

// close lets nothing new in, waits for the streams that are out until ctx
// ends, and resets the rest.
func (t *warmSet) close(ctx context.Context) (err error) {
	t.shut()
	select {
	case <-t.empty:
	case <-ctx.Done():
		if n := t.cut(); n > 0 {
			err = &Error{EnclaveID: t.e.id, Reason: ctx.Err(), Disposition: Unknown,
				Cause: fmt.Errorf("%d streams in use were reset", n)}
		}
	}
	t.cancel()
	t.e.removeWarm(t)
	return err
}

// shut lets nothing new in and closes what is idle.
func (t *warmSet) shut() {
	t.mu.Lock()
	t.closed = true
	t.line.refuseLocked(&Error{EnclaveID: t.e.id, Reason: ErrClosed}, untilContext)
	idle := t.idle
	t.idle, t.low = nil, 0
	for _, s := range idle {
		t.forgetLocked(s)
		t.places--
	}
	t.checkEmptyLocked()
	t.mu.Unlock()
	for _, s := range idle {
		s.end()
	}
}

// cut resets the streams that are out, and returns how many.
func (t *warmSet) cut() int {
	out := *t.all.Load()
	for _, s := range out {
		s.watch.fire(cutOff)
		s.cancel()
	}
	return len(out)
}

func (t *warmSet) checkEmptyLocked() {
	if t.closed && t.places == 0 && !t.over {
		t.over = true
		close(t.empty)
	}
}

// orphaned tells whether the enclave itself has been closed.
func (t *warmSet) orphaned() bool {
	select {
	case <-t.e.keeper.done:
		return true
	default:
		return false
	}
}
