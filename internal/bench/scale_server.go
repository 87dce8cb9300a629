package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
)

// counting is a health service that counts what it is asked.
type counting struct {
	*health.Server
	checks atomic.Uint64
}

func (c *counting) Check(ctx context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	c.checks.Add(1)
	return c.Server.Check(ctx, r)
}

// serveEnclaves is the role "enclaves N PATH": so many enclaves in one process,
// each at a Unix socket of its own, until standard input ends. For each line of
// that it tells the CPU time used so far, in ns, and the health checks answered.
func serveEnclaves(words []string) error {
	if len(words) != 2 {
		return errors.New("want how many, and the path of a socket")
	}
	n, err := strconv.Atoi(words[0])
	if err != nil {
		return err
	}
	checks := &counting{Server: health.NewServer()}
	srv := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
		MinTime: 5 * time.Second, PermitWithoutStream: true,
	}))
	grpc_health_v1.RegisterHealthServer(srv, checks)
	served := make(chan error, n)
	for i := range n {
		lis, err := net.Listen("unix", socketOf(words[1], i))
		if err != nil {
			return err
		}
		go func() { served <- srv.Serve(lis) }()
	}
	fmt.Println("listening")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(int64(cpuTime()), checks.checks.Load())
	}
	srv.Stop()
	return <-served
}

// socketOf names the socket of the enclave of that number.
func socketOf(path string, enclave int) string { return path + "." + strconv.Itoa(enclave) }
