package pool_test

import (
	"context"
	"log"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
)

// signer is the service of the examples' enclave.
type signer struct {
	grpc_testing.UnimplementedTestServiceServer
	busy  int64 // how many calls it turns away at first
	calls atomic.Int64
}

func (s *signer) UnaryCall(_ context.Context, in *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	if s.calls.Add(1) <= s.busy {
		return nil, status.Error(codes.Unavailable, "no key loaded yet")
	}
	signature := append([]byte("signature of "), in.GetPayload().GetBody()...)
	return &grpc_testing.SimpleResponse{Payload: &grpc_testing.Payload{Body: signature}}, nil
}

// FullDuplexCall ends when the caller has sent everything.
func (s *signer) FullDuplexCall(both grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	return (&service{}).FullDuplexCall(both)
}

func digest(of string) *grpc_testing.SimpleRequest {
	return &grpc_testing.SimpleRequest{Payload: &grpc_testing.Payload{Body: []byte(of)}}
}

// startEnclave serves s and a health service at a Unix socket. pooltest would
// do it in a test; an example has no testing.TB.
func startEnclave(s *signer) (target string, stop func()) {
	dir, err := os.MkdirTemp("", "e")
	if err != nil {
		log.Fatal(err)
	}
	socket := filepath.Join(dir, "signer.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	srv := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(srv, s)
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	return "unix:" + socket, func() {
		srv.Stop()
		if err := <-served; err != nil {
			log.Fatal(err)
		}
		os.RemoveAll(dir)
	}
}

// exampleConfig is the defaults with 4 to 8 connections, and patient enough for
// what the examples print to be the same on a loaded machine.
func exampleConfig() pool.Config {
	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns = 4, 8
	cfg.DialTimeout, cfg.Health.Timeout = 10*time.Second, 10*time.Second
	return cfg
}

// startPool starts an enclave and a pool that is connected to it as "a".
func startPool(opts ...pool.Option) (p *pool.Pool, stop func()) {
	target, stopEnclave := startEnclave(&signer{})
	cfg := exampleConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: target}}
	p, err := pool.New(cfg, append([]pool.Option{quiet}, opts...)...)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	return p, func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			log.Fatal(err)
		}
		stopEnclave()
	}
}
