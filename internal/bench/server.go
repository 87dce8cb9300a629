package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"

	"github.com/enclavepool/enclavepool/pool/pooltest"
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

// serve is the role "server PATH": it serves echo, and pooltest's exchange, at
// the Unix socket until standard input ends.
func serve(words []string) error {
	lis, err := listen(words)
	if err != nil {
		return err
	}
	srv := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
		MinTime: 5 * time.Second, PermitWithoutStream: true,
	}))
	testpb.RegisterTestServiceServer(srv, echo{})
	pooltest.ServeExchange(srv, nil)
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	go func() {
		answerParent()
		srv.Stop()
	}()
	fmt.Println("listening")
	return srv.Serve(lis)
}

// serveRaw is the role "raw PATH": it sends back what arrives at the Unix
// socket, with nothing but reads and writes, until standard input ends.
func serveRaw(words []string) error {
	lis, err := listen(words)
	if err != nil {
		return err
	}
	go func() {
		answerParent()
		lis.Close()
	}()
	fmt.Println("listening")
	for {
		c, err := lis.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			buf := make([]byte, exchangeSize)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				if _, err := c.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

func listen(words []string) (net.Listener, error) {
	if len(words) != 1 {
		return nil, errors.New("want the path of a socket")
	}
	return net.Listen("unix", words[0])
}

// answerParent tells, for each line of standard input, the CPU time used so
// far in ns; it returns when standard input ends.
func answerParent() {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(int64(cpuTime()))
	}
}
