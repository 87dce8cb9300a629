package pooltest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// echo is the service that the enclave runs; yours comes from your own proto.
type echo struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (echo) UnaryCall(_ context.Context, in *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{Payload: in.Payload}, nil
}

// retryUnaryCall declares UnaryCall safe to repeat: a call that was on its way
// when its connection broke is made again.
const retryUnaryCall = `{"methodConfig":[{
	"name":[{"service":"grpc.testing.TestService","method":"UnaryCall"}],
	"retryPolicy":{"maxAttempts":4,"initialBackoff":"0.01s","maxBackoff":"0.1s","backoffMultiplier":2,
		"retryableStatusCodes":["UNAVAILABLE"]}}]}`

// TestSigningSurvivesARestart is what a test of yours may look like.
func TestSigningSurvivesARestart(t *testing.T) {
	enclave := pooltest.Start(t, func(s *grpc.Server) {
		grpc_testing.RegisterTestServiceServer(s, echo{})
	})
	cfg := pool.DefaultConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: enclave.Target()}}
	p, err := pool.New(cfg, pool.WithServiceConfig(retryUnaryCall))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}

	enclave.Restart()

	client := grpc_testing.NewTestServiceClient(p.Conn("a"))
	if _, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("call after the restart: %v", err)
	}
}

func ExampleStart() {
	var t *testing.T // your test's; TestSigningSurvivesARestart has the whole of one
	whatATestMayDo := func() {
		enclave := pooltest.Start(t, func(s *grpc.Server) {
			grpc_testing.RegisterTestServiceServer(s, echo{})
		})
		enclave.Freeze()       // as SIGSTOP
		enclave.Thaw()         // as SIGCONT
		enclave.DropConns(5)   // five connections die
		enclave.Stop()         // as kill -9
		enclave.Restart()      // it is back
		enclave.GracefulStop() // GOAWAY
	}
	_ = whatATestMayDo
	// Output:
}

func ExampleNewMemory() {
	var t *testing.T // your test's
	whatATestMayDo := func() {
		synctest.Test(t, func(t *testing.T) {
			enclave := pooltest.NewMemory(t, nil)
			cfg := pool.DefaultConfig()
			cfg.Enclaves = []pool.Enclave{{ID: "a", Target: enclave.Target()}}
			p, err := pool.New(cfg, pool.WithDialer(enclave.Dialer()))
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close(t.Context())
			time.Sleep(time.Hour) // passes at once
		})
	}
	_ = whatATestMayDo
	// Output:
}

// TestSigningOverWarmStreams is what a test of warm streams may look like.
func TestSigningOverWarmStreams(t *testing.T) {
	enclave := pooltest.Start(t, func(s *grpc.Server) {
		pooltest.ServeExchange(s, func(_ context.Context, digest []byte) ([]byte, error) {
			return append([]byte("signature of "), digest...), nil
		})
	})
	cfg := pool.DefaultConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: enclave.Target()}}
	cfg.Reconnect.Budget = 10 * time.Second // a machine that runs tests may be slow
	p, err := pool.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	streams := pool.NewStreams(p, pooltest.OpenExchange, pool.WithIdempotent())

	for _, disturb := range []func(){func() {}, func() { enclave.DropConns(1) }} { // or Freeze, GracefulStop, Restart
		disturb()
		reply, err := streams.Exchange(ctx, "a", wrapperspb.Bytes([]byte("invoice 7")))
		if err != nil || string(reply.Value) != "signature of invoice 7" {
			t.Fatalf("%q, %v", reply.GetValue(), err)
		}
	}
}
