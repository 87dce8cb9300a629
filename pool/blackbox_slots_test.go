package pool_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

func opened(t *testing.T, s duplex, err error) duplex {
	t.Helper()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	if err := s.Send(message("hello")); err != nil {
		t.Fatalf("Send: %v", err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatalf("Recv: %v", err)
	}
	return s
}

// TestASlotIsReturnedOnceHoweverACallEnds makes a call on the only slot there
// is. Afterwards exactly one slot has to be free: not none (it leaked), not two
// (it was returned twice).
func TestASlotIsReturnedOnceHoweverACallEnds(t *testing.T) {
	const requestTimeout = 5 * time.Second
	type setup struct {
		ctx context.Context
		c   grpc_testing.TestServiceClient
		e   *pooltest.Enclave
		p   *pool.Pool
		svc *service
	}
	for _, tt := range []struct {
		name string
		call func(t *testing.T, s setup)
	}{
		{"unary answered", func(t *testing.T, s setup) {
			if _, err := s.c.UnaryCall(s.ctx, &grpc_testing.SimpleRequest{}); err != nil {
				t.Error(err)
			}
		}},
		{"unary server error", func(t *testing.T, s setup) {
			_, err := s.c.UnaryCall(s.ctx, &grpc_testing.SimpleRequest{ResponseStatus: &grpc_testing.EchoStatus{Code: int32(codes.Unavailable)}})
			if status.Code(err) != codes.Unavailable {
				t.Error(err)
			}
		}},
		{"unary RequestTimeout", func(t *testing.T, s setup) {
			s.svc.hold = make(chan struct{})
			if _, err := s.c.UnaryCall(s.ctx, &grpc_testing.SimpleRequest{}); status.Code(err) != codes.DeadlineExceeded {
				t.Error(err)
			}
		}},
		{"unary connection lost", func(t *testing.T, s setup) {
			s.svc.hold = make(chan struct{})
			go func() {
				for s.svc.running.Load() == 0 {
					time.Sleep(time.Millisecond)
				}
				s.e.DropConns(1)
			}()
			_, err := s.c.UnaryCall(s.ctx, &grpc_testing.SimpleRequest{})
			if e := poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable); e.Disposition != pool.Unknown {
				t.Errorf("disposition %v; want unknown", e.Disposition)
			}
		}},
		{"unary request too large", func(t *testing.T, s setup) {
			if _, err := s.c.UnaryCall(s.ctx, &grpc_testing.SimpleRequest{Payload: body(100)}, grpc.MaxCallSendMsgSize(10)); status.Code(err) != codes.ResourceExhausted {
				t.Error(err)
			}
		}},
		{"unary interceptor fails", func(t *testing.T, s setup) {
			if _, err := s.c.UnaryCall(context.WithValue(s.ctx, failBefore{}, true), &grpc_testing.SimpleRequest{}); !errors.Is(err, errInterceptor) {
				t.Error(err)
			}
		}},
		{"unary credentials fail", func(t *testing.T, s setup) {
			if _, err := s.c.UnaryCall(s.ctx, &grpc_testing.SimpleRequest{}, grpc.PerRPCCredentials(failingCredentials{})); status.Code(err) != codes.Unauthenticated {
				t.Error(err)
			}
		}},
		{"unary expired context", func(t *testing.T, s setup) {
			if _, err := s.c.UnaryCall(expired(), &grpc_testing.SimpleRequest{}); status.Code(err) != codes.Canceled {
				t.Error(err)
			}
		}},
		{"stream read to EOF", func(t *testing.T, s setup) {
			st, err := s.c.FullDuplexCall(s.ctx)
			toEOF(t, opened(t, st, err))
		}},
		{"stream cancelled, never read to the end", func(t *testing.T, s setup) {
			ctx, cancel := context.WithCancel(s.ctx)
			st, err := s.c.FullDuplexCall(ctx)
			opened(t, st, err)
			cancel()
		}},
		{"stream opened, nothing sent, cancelled", func(t *testing.T, s setup) {
			ctx, cancel := context.WithCancel(s.ctx)
			if _, err := s.c.FullDuplexCall(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
		}},
		{"stream never read to the end, RequestTimeout", func(t *testing.T, s setup) {
			st, err := s.c.FullDuplexCall(s.ctx)
			opened(t, st, err)
			time.Sleep(requestTimeout)
		}},
		{"stream server error", func(t *testing.T, s setup) {
			st, err := s.c.FullDuplexCall(s.ctx)
			opened(t, st, err)
			if err := st.Send(&grpc_testing.StreamingOutputCallRequest{ResponseStatus: &grpc_testing.EchoStatus{Code: int32(codes.Aborted)}}); err != nil {
				t.Fatal(err)
			}
			if _, err := st.Recv(); status.Code(err) != codes.Aborted {
				t.Error(err)
			}
		}},
		{"server stream left half read, cancelled", func(t *testing.T, s setup) {
			ctx, cancel := context.WithCancel(s.ctx)
			st, err := s.c.StreamingOutputCall(ctx, &grpc_testing.StreamingOutputCallRequest{
				ResponseParameters: []*grpc_testing.ResponseParameters{{Size: 1}, {Size: 1}}, Payload: body(1)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Recv(); err != nil {
				t.Error(err)
			}
			cancel()
		}},
		{"client stream answered", func(t *testing.T, s setup) {
			st, err := s.c.StreamingInputCall(s.ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.CloseAndRecv(); err != nil {
				t.Error(err)
			}
		}},
		{"stream SendMsg too large", func(t *testing.T, s setup) {
			st, err := s.c.FullDuplexCall(s.ctx, grpc.MaxCallSendMsgSize(10))
			if err != nil {
				t.Fatal(err)
			}
			if err := st.Send(&grpc_testing.StreamingOutputCallRequest{Payload: body(100)}); status.Code(err) != codes.ResourceExhausted {
				t.Error(err)
			}
		}},
		{"stream SendMsg of what is no message", func(t *testing.T, s setup) {
			st, err := s.c.FullDuplexCall(s.ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := st.SendMsg("no message"); status.Code(err) != codes.Internal {
				t.Error(err)
			}
		}},
		{"stream connection lost", func(t *testing.T, s setup) {
			st, err := s.c.FullDuplexCall(s.ctx)
			opened(t, st, err)
			s.e.DropConns(1)
			_, err = st.Recv()
			// It had begun to answer, but the lost connection is why it failed.
			if e := poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable); e.Disposition == pool.NotSent {
				t.Errorf("disposition %v of a stream that was answered", e.Disposition)
			}
		}},
		{"stream abandoned, connection lost", func(t *testing.T, s setup) {
			st, err := s.c.FullDuplexCall(s.ctx)
			opened(t, st, err)
			s.e.DropConns(1)
			time.Sleep(requestTimeout) // nobody asks how it ended, so it has until then
		}},
		{"stream interceptor fails before gRPC", func(t *testing.T, s setup) {
			if _, err := s.c.FullDuplexCall(context.WithValue(s.ctx, failBefore{}, true)); !errors.Is(err, errInterceptor) {
				t.Error(err)
			}
		}},
		{"stream interceptor fails after gRPC", func(t *testing.T, s setup) {
			if _, err := s.c.FullDuplexCall(context.WithValue(s.ctx, failAfter{}, true)); !errors.Is(err, errInterceptor) {
				t.Error(err)
			}
		}},
		{"stream credentials fail", func(t *testing.T, s setup) {
			if _, err := s.c.FullDuplexCall(s.ctx, grpc.PerRPCCredentials(failingCredentials{})); status.Code(err) != codes.Unauthenticated {
				t.Error(err)
			}
		}},
		{"stream unknown codec", func(t *testing.T, s setup) {
			if _, err := s.c.FullDuplexCall(s.ctx, grpc.CallContentSubtype("no-such-codec")); status.Code(err) != codes.Internal {
				t.Error(err)
			}
		}},
		{"stream expired context", func(t *testing.T, s setup) {
			if _, err := s.c.FullDuplexCall(expired()); status.Code(err) != codes.Canceled {
				t.Error(err)
			}
		}},
		{"unknown method", func(t *testing.T, s setup) {
			if err := s.p.Conn("a").Invoke(s.ctx, "/none/None", &grpc_testing.Empty{}, &grpc_testing.Empty{}); status.Code(err) != codes.Unimplemented {
				t.Error(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				svc := &service{}
				p, e := memoryPool(t, svc, func(cfg *pool.Config) {
					single(cfg)
					cfg.RequestTimeout = requestTimeout
				}, pool.WithDialOptions(grpc.WithUnaryInterceptor(failingUnary), grpc.WithStreamInterceptor(failingStream)))
				before := stats(p, "a")
				tt.call(t, setup{t.Context(), client(p, "a"), e, p, svc})
				synctest.Wait()

				ready(t, p) // where the connection was lost
				after := stats(p, "a")
				if after.InFlight != 0 || after.Waiters != 0 || after.Acquires != before.Acquires+1 {
					t.Errorf("InFlight %d, Waiters %d, Acquires +%d; want 0, 0, +1", after.InFlight, after.Waiters, after.Acquires-before.Acquires)
				}
				l, err := p.Acquire(expired(), "a")
				if err != nil {
					t.Fatalf("the slot was not returned: %v", err)
				}
				defer l.Release()
				if second, err := p.Acquire(expired(), "a"); err == nil {
					second.Release()
					t.Error("the slot was returned twice")
				}
			})
		})
	}
}

func TestAStreamAbandonedWhenThePoolClosesIsCutAndCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{}
		p, e := memoryPool(t, svc, single)
		st, err := client(p, "a").FullDuplexCall(t.Context())
		opened(t, st, err)
		if err := p.Close(expired()); err == nil {
			t.Error("Close cut a stream and said nothing")
		}
		synctest.Wait()
		if n := svc.running.Load(); n != 0 || e.Conns() != 0 {
			t.Errorf("%d handlers still run, %d connections are open", n, e.Conns())
		}
		if s := stats(p, "a"); s.InFlight != 0 {
			t.Errorf("InFlight = %d", s.InFlight)
		}
		if _, err := st.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("Recv after Close: %v; want Unavailable", err)
		}
	})
}

func TestAStreamIsOverAfterTheLastMessageOfAUnaryAnswer(t *testing.T) {
	// A client stream's single answer ends it, even when its caller uses RecvMsg
	// and never asks for the EOF that would follow.
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, single)
		st, err := p.Conn("a").NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, grpc_testing.TestService_StreamingInputCall_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if err := st.RecvMsg(&grpc_testing.StreamingInputCallResponse{}); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := stats(p, "a"); s.InFlight != 0 {
			t.Errorf("InFlight = %d", s.InFlight)
		}
	})
}
