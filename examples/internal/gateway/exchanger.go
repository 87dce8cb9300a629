package gateway

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
)

const (
	// upstreamIdle is how long a stream to an enclave stays open unused; it takes a slot of the pool's.
	upstreamIdle = time.Second
	// upstreamLife is how long one is used. The next one may find a better connection.
	upstreamLife = time.Minute
	// maxAttempts is how often an exchange is made whose stream breaks each time, as for unary calls.
	maxAttempts = 3
	// repeatPause is waited before the last attempt; the second is made at once, since mostly the stream had died
	// while it was idle. When a whole enclave restarts, the pool needs a moment to see every connection go.
	repeatPause = 5 * time.Millisecond
	// farewell is how long a stream that is half-closed has to end by itself before it is reset.
	farewell = 100 * time.Millisecond
)

// exchanger makes the exchanges of one client's stream, one after another. It opens a stream to an enclave when the
// first message goes there and keeps it for those that follow. One goroutine owns it.
type exchanger struct {
	ctx     context.Context // the client's stream
	backend *backend
	open    map[string]*upstream // by enclave
}

// upstream is a stream to an enclave.
type upstream struct {
	stream       grpc.BidiStreamingClient[signerv1.SignStreamRequest, signerv1.SignStreamResponse]
	cancel       context.CancelFunc
	opened, used time.Time
	lastID       uint64
}

// exchange sends the request of m to the enclave and returns its answer. When the stream breaks on the way, the
// exchange is repeated on a new one, as far as the budget allows.
func (x *exchanger) exchange(enclaveID string, m *signerv1.SignStreamRequest, deadline time.Time) (*signerv1.SignStreamResponse, error) {
	for n := 1; ; n++ {
		res, broken, err := x.attempt(enclaveID, m, deadline)
		if err == nil {
			x.backend.budget.succeeded()
			return res, signer.AsError(res.GetError())
		}
		if !broken || n == maxAttempts || !x.backend.budget.failed() {
			return nil, err
		}
		if n > 1 && !x.pause(repeatPause) {
			return nil, err
		}
	}
}

// pause waits, and tells whether the client is still there.
func (x *exchanger) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-x.ctx.Done():
		return false
	}
}

// attempt makes one exchange on the enclave's stream, or a new one. A stream on which it fails is not used again:
// nobody could tell a late answer from the next one's. broken says that another stream may do better.
func (x *exchanger) attempt(enclaveID string, m *signerv1.SignStreamRequest, deadline time.Time) (res *signerv1.SignStreamResponse, broken bool, err error) {
	left := time.Until(deadline)
	if left <= 0 {
		return nil, false, &pool.Error{EnclaveID: enclaveID, Reason: context.DeadlineExceeded}
	}
	u := x.open[enclaveID]
	if u != nil && time.Since(u.opened) > upstreamLife {
		x.close(enclaveID, u)
		u = nil
	}
	ctx := x.ctx
	if u == nil {
		u = &upstream{opened: time.Now()}
		ctx, u.cancel = context.WithTimeout(x.ctx, upstreamLife+x.backend.maxTimeout)
		x.open[enclaveID] = u
	}
	// A receive cannot be given a deadline of its own; ending the stream ends it.
	var timedOut atomic.Bool
	timer := time.AfterFunc(left, func() {
		timedOut.Store(true)
		u.cancel()
	})
	res, sent, err := x.roundTrip(ctx, enclaveID, u, m, deadline)
	if !timer.Stop() || err != nil {
		u.cancel()
		delete(x.open, enclaveID)
	}
	if err == nil {
		return res, false, nil
	}
	lost := &pool.Error{EnclaveID: enclaveID, Cause: err}
	if sent {
		lost.Disposition = pool.Unknown
	}
	switch {
	case x.ctx.Err() != nil:
		lost.Reason = x.ctx.Err()
	case timedOut.Load():
		lost.Reason = context.DeadlineExceeded
	case sent && breaks(err):
		lost.Reason, broken = pool.ErrUnavailable, true
	default:
		return nil, false, err
	}
	return nil, broken, lost
}

// roundTrip opens the stream if need be, sends and receives. sent says that it got as far as sending.
func (x *exchanger) roundTrip(ctx context.Context, enclaveID string, u *upstream, m *signerv1.SignStreamRequest, deadline time.Time) (res *signerv1.SignStreamResponse, sent bool, err error) {
	if u.stream == nil {
		if u.stream, err = x.backend.client(enclaveID).SignStream(ctx); err != nil {
			return nil, false, err
		}
	}
	u.lastID++
	u.used = time.Now()
	err = u.stream.Send(&signerv1.SignStreamRequest{
		Id: u.lastID, Request: m.GetRequest(), Timeout: durationpb.New(time.Until(deadline))})
	if err != nil && err != io.EOF { // io.EOF: the stream has ended, and Recv says why
		return nil, true, err
	}
	if res, err = u.stream.Recv(); err != nil {
		return nil, true, err
	}
	if res.GetId() != u.lastID {
		return nil, true, status.Errorf(codes.Internal, "enclave answered request %d in place of %d", res.GetId(), u.lastID)
	}
	return res, true, nil
}

// breaks tells the errors of a stream that was lost from those with which an enclave refuses to serve one: what it
// has to say about a request it says in a message.
func breaks(err error) bool {
	if errors.Is(err, io.EOF) {
		return true
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Internal, codes.Canceled, codes.Unknown:
		return true
	}
	return false
}

// sweep closes the streams that have been idle, and tells whether any is left.
func (x *exchanger) sweep() bool {
	for id, u := range x.open {
		if time.Since(u.used) >= upstreamIdle {
			x.close(id, u)
		}
	}
	return len(x.open) > 0
}

// closeAll closes all streams.
func (x *exchanger) closeAll() {
	for id, u := range x.open {
		x.close(id, u)
	}
}

// close ends a stream in order: a reset would be counted against the client by some servers. It may take farewell.
func (x *exchanger) close(enclaveID string, u *upstream) {
	delete(x.open, enclaveID)
	defer u.cancel()
	timer := time.AfterFunc(farewell, u.cancel)
	defer timer.Stop()
	if u.stream.CloseSend() == nil {
		_, _ = u.stream.Recv() // io.EOF, or what no longer matters
	}
}
