package pool_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

type (
	bytesValue  = wrapperspb.BytesValue
	warmStreams = pool.Streams[bytesValue, bytesValue]
	answerer    = func(ctx context.Context, req []byte) ([]byte, error)
)

func value(text string) *bytesValue { return &bytesValue{Value: []byte(text)} }

func exchangeService(answer answerer) func(*grpc.Server) {
	return func(srv *grpc.Server) {
		pooltest.ServeExchange(srv, answer)
		(&service{}).register(srv)
	}
}

// warm is a ready pool of one enclave "a" in memory, with streams to it. For
// use inside a bubble.
func warm(tb testing.TB, answer answerer, change func(*pool.Config), opts ...pool.StreamOption) (*warmStreams, *pool.Pool, *pooltest.Enclave) {
	tb.Helper()
	e := pooltest.NewMemory(tb, exchangeService(answer))
	cfg := config(e)
	if change != nil {
		change(&cfg)
	}
	p := newPool(tb, cfg, pool.WithDialer(e.Dialer()))
	ready(tb, p)
	return pool.NewStreams(p, pooltest.OpenExchange, opts...), p, e
}

// holding answers "hold" when it is told to, or its stream ends, and anything
// else at once.
type holding struct {
	hold  chan struct{}
	ended chan error // what ended a held request's context, if its stream ended
}

func newHolding() *holding {
	return &holding{hold: make(chan struct{}), ended: make(chan error, 1000)}
}

func (h *holding) answer(ctx context.Context, req []byte) ([]byte, error) {
	if string(req) == "hold" {
		select {
		case <-h.hold:
		case <-ctx.Done():
			h.ended <- ctx.Err()
			return nil, ctx.Err()
		}
	}
	return append([]byte("re: "), req...), nil
}

func mustExchange(tb testing.TB, ss *warmStreams, text string) {
	tb.Helper()
	res, err := ss.Exchange(within(tb, patience), "a", value(text))
	if err != nil {
		tb.Fatalf("Exchange(%q): %v", text, err)
	}
	if got := string(res.Value); got != "re: "+text && got != text {
		tb.Fatalf("Exchange(%q) = %q", text, got)
	}
}

// result is what an Exchange in a goroutine returned.
type result struct {
	res *bytesValue
	err error
}

func goExchange(ctx context.Context, ss *warmStreams, text string) <-chan result {
	done := make(chan result, 1)
	go func() {
		res, err := ss.Exchange(ctx, "a", value(text))
		done <- result{res, err}
	}()
	return done
}

func warmStats(ss *warmStreams) pool.StreamStats { return ss.Stats()["a"] }

// slots sets one connection with n streams.
func slots(n int) func(*pool.Config) {
	return func(cfg *pool.Config) { cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 1, 1, n }
}
