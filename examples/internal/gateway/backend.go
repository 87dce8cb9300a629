package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/routing"
)

// carrier takes a request to the enclave that the selector chooses for the key in its context. The two ways of doing
// so are a unary call, by the generated client, and an exchange on a warm stream.
type carrier interface {
	Create(context.Context, *signerv1.CreateRequest, ...grpc.CallOption) (*signerv1.CreateResponse, error)
	Sign(context.Context, *signerv1.SignRequest, ...grpc.CallOption) (*signerv1.SignResponse, error)
}

// backend passes requests to the enclaves. Its errors are failures.
type backend struct {
	pool     *pool.Pool
	carrier  carrier
	selector routing.Selector
	newKeys  routing.Selector // for the names that the gateway draws
	placed   *placed          // nil: keys are where the selector says
	signs    *signs
	// requestTimeout, a time.Duration, is for requests that bring no time-out; a reload may change it.
	requestTimeout atomic.Int64
	maxTimeout     time.Duration // the longest that a request over HTTP or on a stream may have
}

func newBackend(p *pool.Pool, s routing.Selector, known *placed, t Transport, counts *signs) *backend {
	b := &backend{pool: p, selector: noting{Selector: s}, newKeys: s, placed: known, signs: counts, maxTimeout: maxRequestTimeout}
	if known != nil {
		b.selector = noting{known, true}
	} else if _, ok := s.(*spilling); ok {
		b.newKeys = owners // a name can be drawn again, so it need not spill
	}
	if t == Unary {
		b.carrier = newUnary(p, b.selector)
	} else {
		b.carrier = newWarm(p, b.selector)
	}
	return b
}

// setRequestTimeout sets how long requests have that do not say; 0: as long as they may have.
func (b *backend) setRequestTimeout(d time.Duration) {
	if d == 0 {
		d = b.maxTimeout
	}
	b.requestTimeout.Store(int64(d))
}

// create makes a key in the enclave that its name leads to.
func (b *backend) create(ctx context.Context, req *signerv1.CreateRequest) (*signerv1.CreateResponse, error) {
	ctx, cancel := b.withDeadline(ctx)
	defer cancel()
	// Only a caller who chose the name itself can ask for the same key again.
	idempotent := req.GetKeyId() != ""
	if !idempotent {
		name, err := b.draw(ctx)
		if err != nil {
			return nil, fail(err, "", false)
		}
		req = &signerv1.CreateRequest{KeyId: name, Algorithm: req.GetAlgorithm()}
	}
	if err := b.checkRecordable(req); err != nil {
		return nil, err
	}
	t := &trip{creates: true}
	ctx, err := b.setOut(ctx, t, req.GetKeyId())
	if err != nil {
		return nil, fail(err, t.enclaveID, idempotent)
	}
	res, err := b.carrier.Create(ctx, req)
	return res, fail(withWait(err), t.enclaveID, idempotent)
}

// checkRecordable refuses what no enclave would make, before it is recorded.
func (b *backend) checkRecordable(req *signerv1.CreateRequest) error {
	if b.placed == nil {
		return nil // the enclave says so
	}
	if n := len(req.GetKeyId()); n > signer.MaxKeyIDSize {
		return refuse(codes.InvalidArgument, "key_id has %d bytes: want at most %d", n, signer.MaxKeyIDSize)
	}
	if _, known := signerv1.Algorithm_name[int32(req.GetAlgorithm())]; !known {
		return refuse(codes.InvalidArgument, "algorithm %v is not known", req.GetAlgorithm())
	}
	return nil
}

// sign signs in the enclave that has the key, and says which one that is.
func (b *backend) sign(ctx context.Context, req *signerv1.SignRequest) (*signerv1.SignResponse, string, error) {
	if req.GetKeyId() == "" {
		return nil, "", refuse(codes.InvalidArgument, "key_id is missing")
	}
	if n := len(req.GetKeyId()); b.placed != nil && n > signer.MaxKeyIDSize {
		return nil, "", refuse(codes.NotFound, "key_id has %d bytes, and no key has more than %d", n, signer.MaxKeyIDSize)
	}
	ctx, cancel := b.withDeadline(ctx)
	defer cancel()
	t := &trip{}
	ctx, err := b.setOut(ctx, t, req.GetKeyId())
	if err != nil {
		return nil, t.enclaveID, fail(err, t.enclaveID, true)
	}
	res, err := b.carrier.Sign(ctx, req)
	b.signs.count(t, err == nil)
	return res, t.enclaveID, fail(err, t.enclaveID, true)
}

// withDeadline gives a request that has no deadline one: the enclave is told how long it has.
func (b *backend) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Duration(b.requestTimeout.Load()))
}

// setOut returns a context with the key and the trip, or an error when the time is over before anything was sent.
func (b *backend) setOut(ctx context.Context, t *trip, key string) (context.Context, error) {
	ctx = withTrip(routing.WithKey(ctx, key), t)
	if ctx.Err() == nil {
		return ctx, nil
	}
	_, _ = b.selector.Select(ctx, b.pool.View(), key) // notes the enclave, for the error
	return ctx, &pool.Error{EnclaveID: t.enclaveID, Reason: ctx.Err()}
}

// draw names a key so that it belongs to an enclave that takes new keys. While all of these are away, any of them is
// as good: the pool waits for it as long as for one that has just been lost.
func (b *backend) draw(ctx context.Context) (string, error) {
	if b.placed != nil {
		return rand.Text(), nil // any name gets a place in such an enclave
	}
	v := b.pool.View()
	name, _, err := routing.NewKey(ctx, v, b.newKeys, rand.Text)
	if errors.Is(err, routing.ErrOwnerUnavailable) {
		name, _, err = routing.NewKey(ctx, v, regardless{b.newKeys}, rand.Text)
	}
	switch {
	case err == nil:
		return name, nil
	case ctx.Err() != nil:
		return "", &pool.Error{Reason: ctx.Err(), Cause: err}
	case errors.Is(err, routing.ErrNoMember):
		return "", &pool.Error{Reason: pool.ErrUnavailable, Cause: err}
	}
	return "", &pool.Error{Reason: pool.ErrSelector, Cause: err}
}

// withWait says when to come back where no enclave takes new keys, which the pool cannot know.
func withWait(err error) error {
	var e *pool.Error
	if !errors.As(err, &e) || e.RetryAfter > 0 || !errors.Is(err, routing.ErrNoMember) {
		return err
	}
	waiting := *e
	waiting.RetryAfter = placedRetryAfter
	return &waiting
}
