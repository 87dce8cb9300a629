package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
)

// openFor opens a stream for a caller who has a place for one, on a slot taken
// like any other, unless one is released sooner.
func (t *warmSet) openFor(ctx context.Context, patience patience) (*warmStream, error) {
	opened := false
	defer func() {
		if !opened {
			t.vacate()
		}
	}()
	for try := 1; ; try++ {
		l, s, err := t.slotFor(ctx, patience)
		if l == nil {
			return s, err
		}
		if s, err = t.open(ctx, l); err == nil {
			opened = true
			return s, nil
		}
		if !movable(err) || try == maxTries {
			return nil, err
		}
	}
}

// slotFor waits for a slot in the enclave's queue, or for a stream that
// somebody releases: it returns a lease, a stream or an error.
func (t *warmSet) slotFor(ctx context.Context, patience patience) (*Lease, *warmStream, error) {
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &streamWaiter{cancel: cancel}
	t.mu.Lock()
	t.line.push(w)
	t.mu.Unlock()
	l, err := t.e.take(wait, patience)
	t.mu.Lock()
	t.line.remove(w)
	t.mu.Unlock()
	switch {
	case w.stream == nil && err == nil:
		return l, nil, nil
	case w.stream == nil:
		return nil, nil, err
	case err == nil: // both at the same moment
		l.Release()
	}
	return nil, w.stream, nil
}

// open opens a stream on l's slot, for as long as ctx lasts; the stream itself
// does not end with it. When it fails the slot is given back.
func (t *warmSet) open(ctx context.Context, l *Lease) (*warmStream, error) {
	own, cancel := context.WithCancel(t.ctx)
	stop := func() bool { return true }
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, cancel)
	}
	s := &warmStream{set: t, lease: l, cancel: cancel}
	opened := false
	defer func() {
		if !opened { // open may have panicked, too
			s.end()
		}
	}()
	var err error
	s.rpc, err = t.owner.open(own, warmConn{l, s})
	switch {
	case !stop() || err != nil && ctx.Err() != nil:
		return nil, &Error{EnclaveID: t.e.id, Reason: ctx.Err(), Cause: fmt.Errorf("while a stream was being opened: %w", errors.Join(err, ctx.Err()))}
	case err == errNoStream:
		return nil, &Error{EnclaveID: t.e.id, Reason: ErrConfig, Cause: err}
	case err != nil && t.ctx.Err() != nil, err == nil && !t.adopt(s):
		return nil, &Error{EnclaveID: t.e.id, Reason: ErrClosed, Cause: err}
	case err != nil:
		return nil, err
	}
	opened = true
	return s, nil
}

// warmConn is a lease whose stream may outlive Config.RequestTimeout.
type warmConn struct {
	*Lease
	stream *warmStream
}

// NewStream implements grpc.ClientConnInterface.
func (w warmConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := w.begin(); err != nil {
		return nil, err
	}
	ended := func() {
		w.end()
		w.stream.yielded()
	}
	return w.enclave().newStream(&call{Context: ctx, lease: w.Lease}, func() {}, ended, desc, method, opts)
}

// openAhead opens a stream that nobody waits for, on a slot that is free. It
// has a place already.
func (t *warmSet) openAhead(l *Lease) {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if d := t.e.cfg.Load().requestTimeout; d > 0 {
		ctx, cancel = context.WithTimeout(ctx, d)
	}
	defer cancel()
	s, err := t.open(ctx, l)
	t.mu.Lock()
	t.opening--
	if err != nil {
		t.vacateLocked()
		t.resting = true
		t.failures++
	} else {
		t.failures = 0
	}
	t.mu.Unlock()
	if err != nil {
		t.e.log.Debug("warm stream not opened", "cause", errText(err))
		t.kick()
		return
	}
	t.put(s)
}

// spare takes a slot that nobody waits for; nil: there is none.
func (e *enclave) spare() *Lease {
	if e.waiting.Load() > 0 {
		return nil
	}
	s := e.reserve(nil)
	switch {
	case s.conn == nil:
		return nil
	case s.conn.crowded(): // the server's only stream is for probes while idle
		e.release(s.conn)
		return nil
	}
	return s.lease()
}

// movable tells whether err is that of a request which the enclave has
// certainly not processed, and another stream may do better.
func movable(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == ErrUnavailable && (e.Disposition == NotSent || e.Disposition == Refused) && e.RetryAfter == 0
}

// restPause is how long nothing is opened ahead of need after an idle stream
// had to yield, or when no slot was free for it.
const restPause = time.Second
