package pool_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
)

type echoServer struct {
	testpb.UnimplementedTestServiceServer
}

func (echoServer) UnaryCall(_ context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Payload: r.Payload}, nil
}

// BenchmarkConnBesideRaw makes the same unary call of 32 bytes on a raw
// ClientConn and through Pool.Conn, each with one connection to the same
// server, in turns of 50 so that both see the same machine. It reports the
// medians of the turns, their ratio, and allocations (both ends of the call).
func BenchmarkConnBesideRaw(b *testing.B) {
	path := filepath.Join(b.TempDir(), "s")
	lis, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	srv := grpc.NewServer()
	testpb.RegisterTestServiceServer(srv, echoServer{})
	go srv.Serve(lis)
	defer srv.Stop()

	cc, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer cc.Close()

	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns = 1, 1
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "unix:" + path}}
	p, err := pool.New(cfg, pool.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	defer p.Close(ctx)
	if err := p.Ready(ctx); err != nil {
		b.Fatal(err)
	}

	const turn = 50
	var times [2][]float64 // nanoseconds a call, turn by turn
	clients := [2]testpb.TestServiceClient{testpb.NewTestServiceClient(cc), testpb.NewTestServiceClient(p.Conn("a"))}
	req := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 32)}}
	measure := func(i int) {
		start := time.Now()
		for range turn {
			if _, err := clients[i].UnaryCall(ctx, req); err != nil {
				b.Fatal(err)
			}
		}
		times[i] = append(times[i], float64(time.Since(start))/turn)
	}
	measure(0)
	measure(1)
	times = [2][]float64{}
	for turns := 0; b.Loop(); turns++ {
		// Which one goes first changes from turn to turn.
		measure(turns % 2)
		measure(1 - turns%2)
	}
	median := func(i int) float64 {
		slices.Sort(times[i])
		return times[i][len(times[i])/2]
	}
	allocs := func(i int) float64 {
		return testing.AllocsPerRun(200, func() { _, _ = clients[i].UnaryCall(ctx, req) })
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(0), "raw-ns/call")
	b.ReportMetric(median(1), "pool-ns/call")
	b.ReportMetric(median(1)/median(0), "pool/raw")
	b.ReportMetric(allocs(0), "raw-allocs/call")
	b.ReportMetric(allocs(1), "pool-allocs/call")
}
