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
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// everyKindOfCall makes one successful call of each kind and checks its answer.
func everyKindOfCall(ctx context.Context, t *testing.T, c grpc_testing.TestServiceClient, opts ...grpc.CallOption) {
	t.Helper()
	if _, err := c.EmptyCall(ctx, &grpc_testing.Empty{}, opts...); err != nil {
		t.Errorf("EmptyCall: %v", err)
	}
	out, err := c.UnaryCall(ctx, &grpc_testing.SimpleRequest{Payload: body(3)}, opts...)
	if err != nil || len(out.GetPayload().GetBody()) != 3 {
		t.Errorf("UnaryCall = %v, %v", out, err)
	}

	down, err := c.StreamingOutputCall(ctx, &grpc_testing.StreamingOutputCallRequest{
		ResponseParameters: []*grpc_testing.ResponseParameters{{Size: 1}, {Size: 2}},
	}, opts...)
	if err != nil {
		t.Fatalf("StreamingOutputCall: %v", err)
	}
	for _, want := range []int{1, 2} {
		if m, err := down.Recv(); err != nil || len(m.Payload.Body) != want {
			t.Errorf("StreamingOutputCall: Recv = %v, %v; want %d bytes", m, err, want)
		}
	}
	if _, err := down.Recv(); err != io.EOF {
		t.Errorf("StreamingOutputCall: last Recv: %v; want EOF", err)
	}

	up, err := c.StreamingInputCall(ctx, opts...)
	if err != nil {
		t.Fatalf("StreamingInputCall: %v", err)
	}
	for range 3 {
		if err := up.Send(&grpc_testing.StreamingInputCallRequest{Payload: body(5)}); err != nil {
			t.Errorf("StreamingInputCall: Send: %v", err)
		}
	}
	if sum, err := up.CloseAndRecv(); err != nil || sum.AggregatedPayloadSize != 15 {
		t.Errorf("StreamingInputCall = %v, %v; want 15", sum, err)
	}

	full, err := c.FullDuplexCall(ctx, opts...)
	if err != nil {
		t.Fatalf("FullDuplexCall: %v", err)
	}
	for _, text := range []string{"one", "two"} {
		if err := full.Send(message(text)); err != nil {
			t.Errorf("FullDuplexCall: Send: %v", err)
		}
		if m, err := full.Recv(); err != nil || string(m.Payload.Body) != text {
			t.Errorf("FullDuplexCall: Recv = %v, %v; want %q", m, err, text)
		}
	}
	toEOF(t, full)

	half, err := c.HalfDuplexCall(ctx, opts...)
	if err != nil {
		t.Fatalf("HalfDuplexCall: %v", err)
	}
	if err := half.Send(message("later")); err != nil {
		t.Errorf("HalfDuplexCall: Send: %v", err)
	}
	if err := half.CloseSend(); err != nil {
		t.Errorf("HalfDuplexCall: CloseSend: %v", err)
	}
	if m, err := half.Recv(); err != nil || string(m.Payload.Body) != "later" {
		t.Errorf("HalfDuplexCall: Recv = %v, %v", m, err)
	}
	if _, err := half.Recv(); err != io.EOF {
		t.Errorf("HalfDuplexCall: last Recv: %v; want EOF", err)
	}
}

// duplex is the client's side of FullDuplexCall.
type duplex = grpc.BidiStreamingClient[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]

// toEOF ends a duplex stream the regular way.
func toEOF(t *testing.T, s duplex) {
	t.Helper()
	if err := s.CloseSend(); err != nil {
		t.Errorf("CloseSend: %v", err)
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("last Recv: %v; want EOF", err)
	}
}

func TestGeneratedClientsMakeEveryKindOfCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, nil)
		everyKindOfCall(t.Context(), t, client(p, "a"))
		if s := stats(p, "a"); s.InFlight != 0 || s.Acquires != 6 {
			t.Errorf("InFlight, Acquires = %d, %d; want 0, 6", s.InFlight, s.Acquires)
		}
	})
}

func TestGeneratedClientsMakeEveryKindOfCallOverASocket(t *testing.T) {
	p := newPool(t, socketConfig(pooltest.Start(t, (&service{}).register)))
	ready(t, p)
	everyKindOfCall(t.Context(), t, client(p, "a"))
}

func TestMetadataAndCallOptionsPassThroughThePool(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, nil)
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-echo", "shout")
		c := client(p, "a")
		check := func(kind string, header, trailer metadata.MD) {
			t.Helper()
			if got := header.Get("x-header"); len(got) != 1 || got[0] != "shout" {
				t.Errorf("%s: header %v", kind, header)
			}
			if got := trailer.Get("x-trailer"); len(got) != 1 || got[0] != "shout" {
				t.Errorf("%s: trailer %v", kind, trailer)
			}
		}

		var header, trailer metadata.MD
		var from peer.Peer
		if _, err := c.UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&from)); err != nil {
			t.Fatal(err)
		}
		check("unary", header, trailer)
		if from.Addr == nil {
			t.Error("grpc.Peer was not filled in")
		}

		s, err := c.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(message("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
		header, err = s.Header()
		if err != nil {
			t.Fatal(err)
		}
		toEOF(t, s)
		check("stream", header, s.Trailer())

		finished := 0
		_, err = c.UnaryCall(ctx, &grpc_testing.SimpleRequest{Payload: body(100)}, grpc.MaxCallRecvMsgSize(10), grpc.OnFinish(func(error) { finished++ }))
		if status.Code(err) != codes.ResourceExhausted || finished != 1 {
			t.Errorf("MaxCallRecvMsgSize(10): %v, OnFinish called %d times", err, finished)
		}
	})
}

func TestServerErrorsPassThroughUntouched(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, nil)
		for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
			want := &grpc_testing.EchoStatus{Code: int32(code), Message: "the enclave says no"}
			check := func(kind string, err error) {
				t.Helper()
				s, ok := status.FromError(err)
				if !ok || s.Code() != code || s.Message() != want.Message {
					t.Errorf("%s: %v; want code %v and the enclave's message", kind, err, code)
					return
				}
				if d := s.Details(); len(d) != 1 || !proto.Equal(d[0].(proto.Message), &grpc_testing.Payload{Body: []byte("detail")}) {
					t.Errorf("%s, code %v: details %v", kind, code, d)
				}
				var e *pool.Error
				if errors.As(err, &e) {
					t.Errorf("%s, code %v: an enclave's answer became a *pool.Error: %v", kind, code, e)
				}
			}
			_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{ResponseStatus: want})
			check("unary", err)

			s, err := client(p, "a").FullDuplexCall(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Send(&grpc_testing.StreamingOutputCallRequest{ResponseStatus: want}); err != nil {
				t.Fatal(err)
			}
			_, err = s.Recv()
			check("stream", err)
		}
	})
}

func TestACancelledCallEndsAtOnceAndSaysCanceled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		p, _ := memoryPool(t, svc, nil)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			_, err := client(p, "a").UnaryCall(ctx, &grpc_testing.SimpleRequest{})
			result <- err
		}()
		synctest.Wait()
		if svc.running.Load() != 1 {
			t.Fatal("the call is not with the enclave")
		}
		cancel()
		if err := <-result; status.Code(err) != codes.Canceled {
			t.Errorf("cancelled call: %v; want Canceled", err)
		}
		synctest.Wait()
		if s := stats(p, "a"); s.InFlight != 0 || svc.running.Load() != 0 {
			t.Errorf("InFlight %d here, %d at the enclave", s.InFlight, svc.running.Load())
		}
	})
}

func TestAWaitForReadyCallOutlastsTheBudget(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config string // service config
		opts   []grpc.CallOption
	}{
		{"by call option", "", []grpc.CallOption{grpc.WaitForReady(true)}},
		{"by service config", `{"methodConfig":[{"name":[{"service":"grpc.testing.TestService"}],"waitForReady":true}]}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e := pooltest.NewMemory(t, (&service{}).register)
				e.Stop()
				p := newPool(t, config(e), pool.WithDialer(e.Dialer()), pool.WithServiceConfig(tt.config))
				results := make(chan error, 2)
				go func() {
					_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}, tt.opts...)
					results <- err
				}()
				go func() {
					s, err := client(p, "a").FullDuplexCall(t.Context(), tt.opts...)
					if err == nil {
						err = s.CloseSend()
						_, _ = s.Recv() // to EOF
					}
					results <- err
				}()
				time.Sleep(5 * pool.DefaultConfig().Reconnect.Budget)
				select {
				case err := <-results:
					t.Fatalf("a call ended before the enclave was there: %v", err)
				default:
				}
				e.Restart()
				for range 2 {
					if err := <-results; err != nil {
						t.Errorf("call that waited: %v", err)
					}
				}
			})
		})
	}
}

func TestAWaitForReadyCallEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register)
		e.Stop()
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client(p, "a").UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true))
		poolError(t, err, "a", context.DeadlineExceeded, codes.DeadlineExceeded)
		if took := time.Since(start); took != time.Second {
			t.Errorf("failed after %v; want 1s", took)
		}
	})
}
