package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
)

const (
	slowFrom = 64 << 10 // bytes of payload from which a call is slow
	slowTime = 20 * time.Millisecond
)

// echo answers with the payload; one of slowFrom bytes or more after slowTime.
type echo struct {
	testpb.UnimplementedTestServiceServer
}

func (echo) UnaryCall(ctx context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if len(r.GetPayload().GetBody()) >= slowFrom {
		timer := time.NewTimer(slowTime)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return &testpb.SimpleResponse{Payload: r.GetPayload()}, nil
}

func payload(size int) *testpb.SimpleRequest {
	return &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, size)}}
}

// serve is the role "server PATH": it serves echo at the Unix socket until
// standard input ends.
func serve(words []string) error {
	if len(words) != 1 {
		return errors.New("want the path of a socket")
	}
	lis, err := net.Listen("unix", words[0])
	if err != nil {
		return err
	}
	srv := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
		MinTime: 5 * time.Second, PermitWithoutStream: true,
	}))
	testpb.RegisterTestServiceServer(srv, echo{})
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		srv.Stop()
	}()
	fmt.Println("listening")
	return srv.Serve(lis)
}
