package pool_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// meters is a provider that can be asked for what it has collected.
func meters(t *testing.T) (pool.Option, func() map[string]metricdata.Aggregation) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	return pool.WithMeterProvider(provider), func() map[string]metricdata.Aggregation {
		t.Helper()
		var got metricdata.ResourceMetrics
		if err := reader.Collect(context.Background(), &got); err != nil {
			t.Fatal(err)
		}
		byName := map[string]metricdata.Aggregation{}
		for _, scope := range got.ScopeMetrics {
			for _, m := range scope.Metrics {
				byName[m.Name] = m.Data
			}
		}
		return byName
	}
}

// of returns the one data point with the enclave's label and no other.
func of[N any](t *testing.T, id string, points []N, set func(N) attribute.Set) N {
	t.Helper()
	want := attribute.NewSet(attribute.String("enclave_id", id))
	for _, p := range points {
		if s := set(p); s.Equals(&want) {
			return p
		}
	}
	t.Fatalf("no data point of enclave %q among %d", id, len(points))
	panic("not reached")
}

func number(d metricdata.DataPoint[int64]) attribute.Set                  { return d.Attributes }
func distribution(d metricdata.HistogramDataPoint[float64]) attribute.Set { return d.Attributes }

func TestMetricsAreLabelledPerEnclave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{}
		a, b := pooltest.NewMemory(t, svc.register), pooltest.NewMemory(t, svc.register)
		cfg := config(a, b)
		cfg.MaxConns = 2
		cfg.Enclaves[1].MinConns, cfg.Enclaves[1].MaxConns = 3, 3
		cfg.MaxConcurrentStreams = 1
		option, collect := meters(t)
		p := newPool(t, cfg, pool.WithDialer(pooltest.DialerFor(a, b)), option)
		ready(t, p)

		active, ok := collect()["active_conns"].(metricdata.Gauge[int64])
		if !ok {
			t.Fatalf("active_conns is %T; want a gauge", collect()["active_conns"])
		}
		if na, nb := of(t, "a", active.DataPoints, number).Value, of(t, "b", active.DataPoints, number).Value; na != 2 || nb != 3 {
			t.Errorf("active_conns of a and b: %d, %d; want 2, 3", na, nb)
		}

		// Three calls on a: two at once, and one that waits 30 ms.
		first, second := acquire(t, p, "a"), acquire(t, p, "a")
		go func() {
			time.Sleep(30 * time.Millisecond)
			first.Release()
		}()
		acquire(t, p, "a").Release()
		second.Release()

		wait, ok := collect()["pool_acquire_latency_ms"].(metricdata.Histogram[float64])
		if !ok {
			t.Fatalf("pool_acquire_latency_ms is %T; want a histogram", collect()["pool_acquire_latency_ms"])
		}
		h := of(t, "a", wait.DataPoints, distribution)
		if h.Count != 3 || h.Sum < 30 || h.Sum >= 31 {
			t.Errorf("pool_acquire_latency_ms: %d values, %v ms together; want 3, 30", h.Count, h.Sum)
		}
		if n := len(h.Bounds); n < 5 || h.Bounds[0] != 0.05 || h.Bounds[n-1] != 500 || !slices.IsSorted(h.Bounds) {
			t.Errorf("bounds %v; want 0.05 to 500", h.Bounds)
		}
		if h.BucketCounts[0] != 2 {
			t.Errorf("%d values in the first bucket; want the 2 that did not wait", h.BucketCounts[0])
		}

		a.DropConns(1)
		synctest.Wait()
		// The keeper dials at once; stop it from succeeding to see the gap.
		a.Stop()
		synctest.Wait()
		active = collect()["active_conns"].(metricdata.Gauge[int64])
		if n := of(t, "a", active.DataPoints, number).Value; n != 0 {
			t.Errorf("active_conns of a lost enclave: %d", n)
		}
	})
}

func TestStreamResetsAreCountedExactlyAndNoErrorIsNot(t *testing.T) {
	// net/http resets the stream of a handler that panics; gRPC's own server
	// cannot be made to.
	grpcServer := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(grpcServer, health.NewServer())
	grpc_testing.RegisterTestServiceServer(grpcServer, &service{})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("x-reset") != "" {
			// Read to the end first: a frame that came after the reset would be
			// answered with another.
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler)
		}
		grpcServer.ServeHTTP(w, r)
	}), Protocols: new(http.Protocols)}
	srv.Protocols.SetUnencryptedHTTP2(true)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	t.Cleanup(func() {
		srv.Close()
		<-served
		grpcServer.Stop()
	})

	option, collect := meters(t)
	cfg := socketConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: listener.Addr().String()}}
	p := newPool(t, cfg, option)
	ready(t, p)
	resets := func() int64 {
		sum, ok := collect()["grpc_stream_resets"].(metricdata.Sum[int64])
		if !ok || !sum.IsMonotonic {
			t.Fatalf("grpc_stream_resets is %T; want a monotonic sum", collect()["grpc_stream_resets"])
		}
		total := int64(0)
		for _, d := range sum.DataPoints {
			if id, _ := d.Attributes.Value("enclave_id"); id.AsString() != "a" {
				t.Errorf("a reset of enclave %q", id.AsString())
			}
			if code, ok := d.Attributes.Value("code"); !ok || code.AsString() == "NO_ERROR" {
				t.Errorf("a reset with the code %q", code.AsString())
			}
			total += d.Value
		}
		return total
	}
	everyKindOfCall(t.Context(), t, client(p, "a"))
	// The enclave answers before the client has sent everything: NO_ERROR.
	s, err := client(p, "a").FullDuplexCall(t.Context())
	opened(t, s, err)
	if err := s.Send(&grpc_testing.StreamingOutputCallRequest{ResponseStatus: &grpc_testing.EchoStatus{Code: int32(codes.Aborted)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("Recv: %v; want Aborted", err)
	}
	if n := resets(); n != 0 {
		t.Errorf("%d resets when nothing had gone wrong", n)
	}

	const n = 7
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-reset", "please")
	for range n {
		if _, err := client(p, "a").EmptyCall(ctx, &grpc_testing.Empty{}); status.Code(err) != codes.Internal {
			t.Errorf("call whose stream was reset: %v; want gRPC's own Internal", err)
		}
	}
	if got := resets(); got != n || stats(p, "a").StreamResets != n {
		t.Errorf("%d resets, %d in Stats; want %d", got, stats(p, "a").StreamResets, n)
	}
	if st := stats(p, "a"); st.Dials != 2 || st.InFlight != 0 || st.HealthyConns != 2 {
		t.Errorf("%d dials, InFlight %d, %d Healthy; resets are no reason to reconnect", st.Dials, st.InFlight, st.HealthyConns)
	}
}

func TestTwoPoolsHaveTheirOwnMetrics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		one, collectOne := meters(t)
		two, collectTwo := meters(t)
		p1, _ := memoryPool(t, &service{}, nil, one)
		p2, _ := memoryPool(t, &service{}, func(cfg *pool.Config) { cfg.MinConns = 4 }, two)
		acquire(t, p1, "a").Release()
		for range 5 {
			acquire(t, p2, "a").Release()
		}
		for i, tt := range []struct {
			collect func() map[string]metricdata.Aggregation
			conns   int64
			waits   uint64
		}{{collectOne, 2, 1}, {collectTwo, 4, 5}} {
			got := tt.collect()
			active := got["active_conns"].(metricdata.Gauge[int64])
			wait := got["pool_acquire_latency_ms"].(metricdata.Histogram[float64])
			if n, w := of(t, "a", active.DataPoints, number).Value, of(t, "a", wait.DataPoints, distribution).Count; n != tt.conns || w != tt.waits {
				t.Errorf("pool %d: %d connections, %d waits; want %d, %d", i+1, n, w, tt.conns, tt.waits)
			}
		}
		// A closed pool reports no more connections.
		if err := p1.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if g, ok := collectOne()["active_conns"].(metricdata.Gauge[int64]); ok {
			for _, d := range g.DataPoints {
				if d.Value != 0 {
					t.Errorf("active_conns of a closed pool: %d", d.Value)
				}
			}
		}
	})
}

func TestRecordingAddsNoAllocation(t *testing.T) {
	e := pooltest.Start(t, (&service{}).register)
	measure := func(provider metric.MeterProvider) float64 {
		p := newPool(t, socketConfig(e), pool.WithMeterProvider(provider))
		ready(t, p)
		ctx := context.Background()
		return testing.AllocsPerRun(1000, func() {
			l, err := p.Acquire(ctx, "a")
			if err != nil {
				t.Fatal(err)
			}
			l.Release()
		})
	}
	with := measure(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())))
	without := measure(noop.NewMeterProvider())
	if with > 1 || without > 1 {
		t.Errorf("Acquire and Release: %v allocations with the SDK, %v without; want 1 at most", with, without)
	}
}
