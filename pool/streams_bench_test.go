//go:build unix

package pool_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// BenchmarkExchange sends 32 bytes and gets them back, from 1, 64 and 500
// callers: over Streams, on bare gRPC streams (one for each
// caller, over as many connections), unary through Pool.Conn, and unary on one
// shared ClientConn. Both ends are in this process, so a time is that of both;
// cpu-ns/op is the processors' time, which a busy machine changes less.
func BenchmarkExchange(b *testing.B) {
	path := filepath.Join(b.TempDir(), "s")
	lis, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	srv := grpc.NewServer()
	pooltest.ServeExchange(srv, nil)
	testpb.RegisterTestServiceServer(srv, echoServer{})
	go srv.Serve(lis)
	defer srv.Stop()
	dial := func(b *testing.B) *grpc.ClientConn {
		cc, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { cc.Close() })
		return cc
	}
	conns := func(b *testing.B, n int) *pool.Pool {
		cfg := pool.DefaultConfig()
		cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = n, n, 1000
		cfg.DialTimeout, cfg.Health.Timeout = 10*time.Second, 10*time.Second
		cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "unix:" + path}}
		p := newPool(b, cfg)
		ready(b, p)
		return p
	}
	unary := func(cc grpc.ClientConnInterface) func(int) func(context.Context) error {
		client := testpb.NewTestServiceClient(cc)
		return func(int) func(context.Context) error {
			req := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 32)}}
			return func(ctx context.Context) error { _, err := client.UnaryCall(ctx, req); return err }
		}
	}
	warm := func(n int) func(*testing.B, int) func(int) func(context.Context) error {
		return func(b *testing.B, callers int) func(int) func(context.Context) error {
			streams := pool.NewStreams(conns(b, n), pooltest.OpenExchange)
			return func(int) func(context.Context) error {
				req := &wrapperspb.BytesValue{Value: make([]byte, 32)}
				return func(ctx context.Context) error { _, err := streams.Exchange(ctx, "a", req); return err }
			}
		}
	}
	bare := func(n int) func(*testing.B, int) func(int) func(context.Context) error {
		return func(b *testing.B, callers int) func(int) func(context.Context) error {
			var ccs []*grpc.ClientConn
			for range n {
				ccs = append(ccs, dial(b))
			}
			return func(caller int) func(context.Context) error {
				req := &wrapperspb.BytesValue{Value: make([]byte, 32)}
				s, err := pooltest.OpenExchange(b.Context(), ccs[caller%n])
				if err != nil {
					b.Fatal(err)
				}
				return func(context.Context) error {
					if err := s.Send(req); err != nil {
						return err
					}
					_, err := s.Recv()
					return err
				}
			}
		}
	}
	ways := []struct {
		name string
		make func(b *testing.B, callers int) func(caller int) func(context.Context) error
	}{
		{"streams/conns=4", warm(4)},
		{"streams/conns=16", warm(16)},
		{"bare/conns=4", bare(4)},
		{"bare/conns=16", bare(16)},
		{"unary/pool", func(b *testing.B, _ int) func(int) func(context.Context) error { return unary(conns(b, 16).Conn("a")) }},
		{"unary/shared", func(b *testing.B, _ int) func(int) func(context.Context) error { return unary(dial(b)) }},
	}
	for _, callers := range []int{1, 64, 500} {
		for _, way := range ways {
			b.Run(fmt.Sprintf("callers=%d/%s", callers, way.name), func(b *testing.B) {
				one := way.make(b, callers)
				calls := make([]func(context.Context) error, callers)
				for i := range calls {
					calls[i] = one(i)
				}
				var left atomic.Int64
				run := func(n int) {
					left.Store(int64(n))
					var wg sync.WaitGroup
					for _, call := range calls {
						wg.Go(func() {
							for left.Add(-1) >= 0 {
								// Every request has a context of its own.
								ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
								if err := call(ctx); err != nil {
									b.Error(err)
								}
								cancel()
							}
						})
					}
					wg.Wait()
				}
				run(20 * callers) // warms up
				b.ReportAllocs()
				b.ResetTimer()
				before := cpuTime(b)
				run(b.N)
				b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
