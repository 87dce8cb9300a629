package pool

import (
	"context"
	"errors"
	"slices"
	"sync"

	"google.golang.org/grpc"
)

// Streams keeps bidirectional streams open to a pool's enclaves, so that a
// request is one message on a stream that is there already instead of a call of
// its own. Each stream has one request in flight at most: a slow one holds its
// stream and nobody else's. All methods are safe for concurrent use.
//
// The streams of an enclave are spread over its connections by the pool's own
// admission. An open stream holds its slot, in use or idle, and is counted by
// [Pool.Stats] as in flight; an idle one gives its slot up as soon as anybody
// else would have to wait for one. A stream whose connection is lost, ejected,
// drained, too old or no longer wanted, or that has failed, is not used again;
// another is opened in the background where it is missed.
//
// # What the enclave must do
//
// It answers each request with one response, in order, and is free to end a
// stream between two requests. An enclave that ends a stream with OK promises
// that it has not processed a request that it has not answered: such a request
// is sent again on another stream, as is one that was not sent or that the
// enclave refused (see [Disposition]). The pool ends a stream by resetting it:
// the context of its handler ends.
//
// # What it costs
//
// Measured with 32-byte messages, both ends in one process: an exchange
// allocates nothing of its own. What there is, some 28 allocations, is gRPC's
// and protobuf's on both ends: the two messages and their buffers, a data frame
// each, window updates. An exchange that takes longer than 16 ms, or that no idle
// stream was there for, allocates to watch its context and to wait.
type Streams[Req, Res any] struct{ *warmStreams }

// warmStreams is Streams without its types.
type warmStreams struct {
	pool *Pool
	opts streamOptions
	err  error // what NewStreams was told is not valid
	open func(context.Context, grpc.ClientConnInterface) (any, error)

	mu     sync.Mutex
	sets   []*warmSet
	closed bool
}

// NewStreams keeps streams warm to every enclave of p. open opens one:
//
//	streams := pool.NewStreams(p, func(ctx context.Context, cc grpc.ClientConnInterface) (
//		grpc.BidiStreamingClient[signerv1.SignRequest, signerv1.SignResponse], error) {
//		return signerv1.NewSignerClient(cc).SignStream(ctx)
//	})
//
// It has to use ctx and cc, and cc for one stream only. ctx is the stream's
// own: it ends when the stream is discarded, has no deadline and no values of
// any caller. open may exchange messages of its own before it returns, to
// introduce itself. A timeout for the method in a service config ends its
// streams when it has passed.
//
// The minimum (WithMinStreams) is opened as soon as an enclave has
// connections, and one more in the background whenever the last idle one is
// taken. NewStreams returns at once. When an option is not valid, or p or open
// is nil, that is logged as an error, and every Acquire and Exchange fails with
// ErrConfig and names the option.
func NewStreams[Req, Res any](p *Pool, open func(context.Context, grpc.ClientConnInterface) (grpc.BidiStreamingClient[Req, Res], error), opts ...StreamOption) *Streams[Req, Res] {
	ws := &warmStreams{pool: p, opts: newStreamOptions(opts)}
	ws.err = ws.opts.check(p == nil, open == nil)
	if ws.err != nil {
		if p != nil {
			p.opts.logger.Error("warm streams are not usable", "cause", errText(ws.err))
		}
		return &Streams[Req, Res]{ws}
	}
	ws.open = func(ctx context.Context, cc grpc.ClientConnInterface) (any, error) {
		s, err := open(ctx, cc)
		if err != nil {
			return nil, err
		}
		if s == nil {
			return nil, errNoStream
		}
		return s, nil
	}
	p.keepWarm(ws)
	return &Streams[Req, Res]{ws}
}

// errNoStream is the cause when open has returned neither.
var errNoStream = errors.New("open returned no stream and no error")

// set finds the streams to an enclave.
func (ws *warmStreams) set(enclaveID string) (*warmSet, error) {
	if ws.err != nil {
		return nil, &Error{EnclaveID: enclaveID, Reason: ErrConfig, Cause: ws.err}
	}
	e, err := ws.pool.enclave(enclaveID)
	if err != nil {
		return nil, err
	}
	for _, t := range e.warmSets() {
		if t.owner == ws {
			return t, nil
		}
	}
	if t := ws.setFor(e); t != nil {
		return t, nil
	}
	return nil, &Error{EnclaveID: enclaveID, Reason: ErrClosed}
}

// setFor starts keeping streams to e; nil: the Streams have been closed.
func (ws *warmStreams) setFor(e *enclave) *warmSet {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return nil
	}
	ws.sets = slices.DeleteFunc(slices.Clone(ws.sets), (*warmSet).orphaned)
	for _, t := range ws.sets {
		if t.e == e {
			return t // somebody was faster
		}
	}
	t := newWarmSet(ws, e)
	ws.sets = append(ws.sets, t)
	e.addWarm(t)
	go t.keep()
	return t
}

// forget drops the streams to an enclave that is no more.
func (ws *warmStreams) forget(t *warmSet) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if !ws.closed { // else Close has the list
		ws.sets = slices.DeleteFunc(slices.Clone(ws.sets), func(o *warmSet) bool { return o == t })
	}
}

// Acquire takes a stream for any number of exchanges, one after another. It
// takes an idle one, else opens one through the pool's queue or, with the
// maximum open, waits in a queue of its own for one to be released, first come
// first served: until ctx ends or AcquireTimeout has passed, behind at most
// MaxWaiters others. An already expired ctx still gets an idle stream.
//
// It fails with an *Error: ErrUnknownEnclave, ErrExhausted, ErrUnavailable,
// ErrDraining, ErrClosed (the pool or the Streams), ErrConfig, or ctx's error;
// or with what open returned.
func (ss *Streams[Req, Res]) Acquire(ctx context.Context, enclaveID string) (*Stream[Req, Res], error) {
	for {
		t, err := ss.set(enclaveID)
		if err != nil {
			return nil, err
		}
		s := t.pop(ctx)
		if s == nil {
			s, err = t.acquire(ctx, untilBudget)
		}
		if err == nil {
			return &Stream[Req, Res]{set: t, warm: s}, nil
		}
		if !t.moved(err) {
			return nil, err
		}
	}
}

// Exchange is Acquire, [Stream.Exchange] and Release in one, and cheaper.
// Without a deadline in ctx, Config.RequestTimeout is one, for the wait and the
// exchange together.
func (ss *Streams[Req, Res]) Exchange(ctx context.Context, enclaveID string, req *Req) (*Res, error) {
	for {
		t, err := ss.set(enclaveID)
		if err != nil {
			return nil, err
		}
		res, err := exchangeOnce[Req, Res](ctx, t, untilBudget, req)
		if err == nil || !t.moved(err) {
			return res, err
		}
	}
}

// exchangeOnce is an exchange that takes a stream and gives it back.
func exchangeOnce[Req, Res any](ctx context.Context, t *warmSet, p patience, req *Req) (*Res, error) {
	res, s, err := exchange[Req, Res](ctx, t, t.pop(ctx), p, req)
	if s != nil {
		t.put(s)
	}
	return res, err
}

// moved tells whether err is that of a caller who came when a reload had just
// put another enclave in the place of this one.
func (t *warmSet) moved(err error) bool {
	var e *Error
	return t.e.replaced.Load() && errors.As(err, &e) && e.Reason == ErrDraining && e.Disposition == NotSent
}
