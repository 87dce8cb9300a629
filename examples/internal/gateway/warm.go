package gateway

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/routing"
)

const (
	// maxAttempts is how often a request is sent, as for unary calls.
	maxAttempts = 3
	// repeatPause is waited before it is sent again. When a whole enclave restarts, the pool needs a moment to see every
	// connection go.
	repeatPause = 5 * time.Millisecond
)

// request is what one exchange asks for. Exactly one of the two is there.
type request struct {
	create   *signerv1.CreateRequest
	sign     *signerv1.SignRequest
	deadline time.Time
}

// warm carries requests as exchanges on warm streams. All may be repeated: signatures are deterministic, and every key
// has its name before an enclave is asked for it.
type warm struct {
	streams *pool.Streams[request, signerv1.SignStreamResponse]
	routed  *pool.RoutedStreams[request, signerv1.SignStreamResponse]
	budget  budget
}

func newWarm(p *pool.Pool, s routing.Selector) *warm {
	streams := pool.NewStreams(p, openUpstream, pool.WithIdempotent())
	return &warm{streams: streams, routed: streams.Routed(s)}
}

// Create implements carrier.
func (w *warm) Create(ctx context.Context, req *signerv1.CreateRequest, _ ...grpc.CallOption) (*signerv1.CreateResponse, error) {
	res, err := w.exchange(ctx, &request{create: req})
	if err == nil && res.GetCreate() == nil {
		err = errWrongAnswer
	}
	return res.GetCreate(), err
}

// Sign implements carrier.
func (w *warm) Sign(ctx context.Context, req *signerv1.SignRequest, _ ...grpc.CallOption) (*signerv1.SignResponse, error) {
	res, err := w.exchange(ctx, &request{sign: req})
	if err == nil && res.GetSign() == nil {
		err = errWrongAnswer
	}
	return res.GetSign(), err
}

var errWrongAnswer = status.Error(codes.Internal, "the enclave's answer is not one to the request")

// exchange makes an exchange, again if its stream broke or the answer was UNAVAILABLE, as far as the budget allows.
// The pool has repeated it once already where a connection was lost, and where nothing was sent it has tried whatever
// there is.
func (w *warm) exchange(ctx context.Context, r *request) (*signerv1.SignStreamResponse, error) {
	r.deadline, _ = ctx.Deadline()
	unknown := false // an attempt may have been processed
	for n := 1; ; n++ {
		res, err := w.routed.Exchange(ctx, r)
		switch {
		case err == nil:
			if err = signer.AsError(res.GetError()); status.Code(err) != codes.Unavailable {
				w.budget.succeeded()
				return res, err
			}
		case breaks(err):
			unknown = true
			err = lost(ctx, err)
		case unknown:
			return nil, lost(ctx, err)
		default:
			return nil, err
		}
		if n == maxAttempts || !w.budget.failed() || !pause(ctx, repeatPause) {
			return nil, err
		}
	}
}

// breaks tells the errors of a stream that was lost from those with which an enclave refuses to serve one: what it has
// to say about a request it says in a message.
func breaks(err error) bool {
	var e *pool.Error
	if errors.As(err, &e) {
		return e.Reason == pool.ErrUnavailable && e.Disposition == pool.Unknown
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Internal, codes.Canceled, codes.Unknown:
		return true
	}
	return false
}

// lost makes err that of a request which may have been processed: the pool's word for a lost connection where it was
// the stream that was reset, which says nothing about the request.
func lost(ctx context.Context, err error) error {
	out := pool.Error{Reason: pool.ErrUnavailable, Cause: err}
	if t := tripOf(ctx); t != nil {
		out.EnclaveID = t.enclaveID
	}
	var e *pool.Error
	if errors.As(err, &e) {
		out = *e
	}
	out.Disposition = pool.Unknown
	return &out
}

// pause waits, and tells whether ctx lasted that long.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// upstream is a SignStream to an enclave that carries requests. A stream has one user at a time.
type upstream struct {
	grpc.ClientStream
	rpc    grpc.BidiStreamingClient[signerv1.SignStreamRequest, signerv1.SignStreamResponse]
	lastID uint64
}

func openUpstream(ctx context.Context, cc grpc.ClientConnInterface) (grpc.BidiStreamingClient[request, signerv1.SignStreamResponse], error) {
	s, err := signerv1.NewSignerServiceClient(cc).SignStream(ctx)
	if err != nil {
		return nil, err
	}
	return &upstream{ClientStream: s, rpc: s}, nil
}

// Send sends the request with the time that is left now, after any waiting.
func (u *upstream) Send(r *request) error {
	u.lastID++
	m := &signerv1.SignStreamRequest{Id: u.lastID}
	if r.sign != nil {
		m.Request = &signerv1.SignStreamRequest_Sign{Sign: r.sign}
	} else {
		m.Request = &signerv1.SignStreamRequest_Create{Create: r.create}
	}
	if !r.deadline.IsZero() {
		m.Timeout = durationpb.New(time.Until(r.deadline))
	}
	return u.rpc.Send(m)
}

// Recv returns the answer to the last request. Any other is an error, which ends the stream.
func (u *upstream) Recv() (*signerv1.SignStreamResponse, error) {
	res, err := u.rpc.Recv()
	if err != nil {
		return nil, err
	}
	if res.GetId() != u.lastID {
		return nil, status.Errorf(codes.Internal, "enclave answered request %d in place of %d", res.GetId(), u.lastID)
	}
	return res, nil
}
