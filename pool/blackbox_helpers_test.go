package pool_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// service is the enclave's side of every test here. Each handler echoes what
// it gets in its own way, sends back the metadata x-echo as header and trailer,
// and fails with the code of ResponseStatus when the request has one.
type service struct {
	grpc_testing.UnimplementedTestServiceServer

	// hold, when not nil, keeps every unary call until it is closed or the
	// call's context ends.
	hold chan struct{}
	// seen, when not nil, is called at the start of every call.
	seen func(ctx context.Context)

	running, most atomic.Int64 // calls at this moment, and at the worst one
}

func (s *service) register(srv *grpc.Server) { grpc_testing.RegisterTestServiceServer(srv, s) }

// enter returns what is to be called at the call's end.
func (s *service) enter(ctx context.Context) func() {
	if s.seen != nil {
		s.seen(ctx)
	}
	n := s.running.Add(1)
	for m := s.most.Load(); n > m && !s.most.CompareAndSwap(m, n); m = s.most.Load() {
	}
	if echo := metadata.ValueFromIncomingContext(ctx, "x-echo"); len(echo) > 0 {
		// They fail only once the headers are sent, which they are not.
		_ = grpc.SetHeader(ctx, metadata.Pairs("x-header", echo[0]))
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", echo[0]))
	}
	return func() { s.running.Add(-1) }
}

func failure(s *grpc_testing.EchoStatus) error {
	if s == nil {
		return nil
	}
	// The payload stands for any detail that a service may attach.
	st, err := status.New(codes.Code(s.Code), s.Message).WithDetails(&grpc_testing.Payload{Body: []byte("detail")})
	if err != nil {
		return err
	}
	return st.Err()
}

func (s *service) EmptyCall(ctx context.Context, in *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	defer s.enter(ctx)()
	return in, nil
}

func (s *service) UnaryCall(ctx context.Context, in *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	defer s.enter(ctx)()
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &grpc_testing.SimpleResponse{Payload: in.Payload}, failure(in.ResponseStatus)
}

// StreamingOutputCall sends a message for each of ResponseParameters, and then,
// when the request has a payload, nothing more until its context ends.
func (s *service) StreamingOutputCall(in *grpc_testing.StreamingOutputCallRequest, out grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	defer s.enter(out.Context())()
	for _, p := range in.ResponseParameters {
		if err := out.Send(&grpc_testing.StreamingOutputCallResponse{Payload: body(int(p.Size))}); err != nil {
			return err
		}
	}
	if in.Payload != nil {
		<-out.Context().Done()
	}
	return failure(in.ResponseStatus)
}

func (s *service) StreamingInputCall(in grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
	defer s.enter(in.Context())()
	size := 0
	for {
		m, err := in.Recv()
		if err == io.EOF {
			return in.SendAndClose(&grpc_testing.StreamingInputCallResponse{AggregatedPayloadSize: int32(size)})
		}
		if err != nil {
			return err
		}
		size += len(m.Payload.GetBody())
	}
}

func (s *service) FullDuplexCall(both grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	defer s.enter(both.Context())()
	for {
		m, err := both.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := failure(m.ResponseStatus); err != nil {
			return err
		}
		if err := both.Send(&grpc_testing.StreamingOutputCallResponse{Payload: m.Payload}); err != nil {
			return err
		}
	}
}

func (s *service) HalfDuplexCall(both grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	defer s.enter(both.Context())()
	var all []*grpc_testing.Payload
	for {
		m, err := both.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		all = append(all, m.Payload)
	}
	for _, p := range all {
		if err := both.Send(&grpc_testing.StreamingOutputCallResponse{Payload: p}); err != nil {
			return err
		}
	}
	return nil
}

func body(n int) *grpc_testing.Payload { return &grpc_testing.Payload{Body: make([]byte, n)} }

// message is a request of the duplex calls.
func message(text string) *grpc_testing.StreamingOutputCallRequest {
	return &grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: []byte(text)}}
}

// config is the defaults with 2 to 4 connections for "a", "b", … at the given
// enclaves.
func config(enclaves ...*pooltest.Enclave) pool.Config {
	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns = 2, 4
	for i, e := range enclaves {
		cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: string(rune('a' + i)), Target: e.Target()})
	}
	return cfg
}

// socketConfig is config for enclaves behind real sockets: with the real clock a
// loaded machine must not look like a slow enclave.
func socketConfig(enclaves ...*pooltest.Enclave) pool.Config {
	cfg := config(enclaves...)
	cfg.DialTimeout, cfg.Health.Timeout = 10*time.Second, 10*time.Second
	return cfg
}

var quiet = pool.WithLogger(slog.New(slog.DiscardHandler))

// newPool makes a pool that is closed, hard, at the end of the test.
func newPool(tb testing.TB, cfg pool.Config, opts ...pool.Option) *pool.Pool {
	tb.Helper()
	p, err := pool.New(cfg, append([]pool.Option{quiet}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close(expired()) }) // what is still open was the test's intent
	return p
}

// expired is a context that has ended.
func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// within bounds what should take far less.
func within(tb testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	tb.Cleanup(cancel)
	return ctx
}

// patience is far longer than anything here takes on a loaded machine.
const patience = 30 * time.Second

func ready(tb testing.TB, p *pool.Pool) {
	tb.Helper()
	if err := p.Ready(within(tb, patience)); err != nil {
		tb.Fatalf("Ready: %v", err)
	}
}

// memoryPool is a ready pool of one enclave "a" in memory, with fixed
// configuration changes. For use inside a bubble.
func memoryPool(tb testing.TB, s *service, change func(*pool.Config), opts ...pool.Option) (*pool.Pool, *pooltest.Enclave) {
	tb.Helper()
	e := pooltest.NewMemory(tb, s.register)
	cfg := config(e)
	if change != nil {
		change(&cfg)
	}
	p := newPool(tb, cfg, append([]pool.Option{pool.WithDialer(e.Dialer())}, opts...)...)
	ready(tb, p)
	return p, e
}

// single makes one connection with one stream.
func single(cfg *pool.Config) { cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 1, 1, 1 }

// bubble runs test with a virtual clock.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func client(p *pool.Pool, id string) grpc_testing.TestServiceClient {
	return grpc_testing.NewTestServiceClient(p.Conn(id))
}

func stats(p *pool.Pool, id string) pool.EnclaveStats { return p.Stats().Enclaves[id] }

func acquire(tb testing.TB, p *pool.Pool, id string) *pool.Lease {
	tb.Helper()
	l, err := p.Acquire(within(tb, patience), id)
	if err != nil {
		tb.Fatalf("Acquire: %v", err)
	}
	return l
}

// poolError checks that err is a *pool.Error about the enclave with the reason
// and its code, and returns it.
func poolError(tb testing.TB, err error, id string, reason error, code codes.Code) *pool.Error {
	tb.Helper()
	var e *pool.Error
	if !errors.As(err, &e) {
		tb.Fatalf("error is %T %v; want a *pool.Error with %v", err, err, reason)
	}
	if !errors.Is(err, reason) || e.EnclaveID != id || status.Code(err) != code {
		tb.Fatalf("error is %v (code %v, enclave %q); want %v, %v, %q", err, status.Code(err), e.EnclaveID, reason, code, id)
	}
	return e
}

// eventually polls, for what happens in another goroutine's own time with no
// signal to wait on. Inside a bubble synctest.Wait does better.
func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %v: %s", patience, what)
		}
	}
}
