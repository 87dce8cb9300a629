package pool_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
	"github.com/enclavepool/enclavepool/routing"
)

// traced runs f with a sampled span in its context, and returns what became of
// the span.
func traced(t *testing.T, ctx context.Context, f func(context.Context)) sdktrace.ReadOnlySpan {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	ctx, span := provider.Tracer("test").Start(ctx, "caller")
	f(ctx)
	span.End()
	if n := len(recorder.Ended()); n != 1 {
		t.Fatalf("%d spans; the pool starts none", n)
	}
	return recorder.Ended()[0]
}

// told are a span's events in words, such as "pool.attempt conn=0 enclave_id=a".
func told(s sdktrace.ReadOnlySpan) string {
	var out []string
	for _, e := range s.Events() {
		set := attribute.NewSet(e.Attributes...)
		words := []string{e.Name}
		for _, kv := range set.ToSlice() {
			words = append(words, fmt.Sprintf("%s=%s", kv.Key, kv.Value.String()))
		}
		out = append(out, strings.Join(words, " "))
	}
	return strings.Join(out, ", ")
}

const secret = "what no span may contain"

// tracedCalls are the ways to make a call on enclave a.
func tracedCalls(p *pool.Pool, ss *warmStreams) map[string]func(context.Context) error {
	routed := routing.NewRendezvous()
	req := &grpc_testing.SimpleRequest{Payload: &grpc_testing.Payload{Body: []byte(secret)}}
	return map[string]func(context.Context) error{
		"Conn": func(ctx context.Context) error {
			_, err := client(p, "a").UnaryCall(ctx, req)
			return err
		},
		"Conn, stream": func(ctx context.Context) error { return exchange(ctx, client(p, "a")) },
		"Routed": func(ctx context.Context) error {
			_, err := grpc_testing.NewTestServiceClient(p.Routed(routed)).UnaryCall(ctx, req)
			return err
		},
		"Routed, stream": func(ctx context.Context) error {
			return exchange(ctx, grpc_testing.NewTestServiceClient(p.Routed(routed)))
		},
		"Lease": func(ctx context.Context) error {
			l, err := p.Acquire(ctx, "a")
			if err != nil {
				return err
			}
			defer l.Release()
			_, err = grpc_testing.NewTestServiceClient(l).UnaryCall(ctx, req)
			return err
		},
		"Streams": func(ctx context.Context) error {
			_, err := ss.Exchange(ctx, "a", value(secret))
			return err
		},
		"Streams, routed": func(ctx context.Context) error {
			_, err := ss.Routed(routed).Exchange(ctx, value(secret))
			return err
		},
		"Stream": func(ctx context.Context) error {
			s, err := ss.Acquire(ctx, "a")
			if err != nil {
				return err
			}
			defer s.Release()
			_, err = s.Exchange(ctx, value(secret))
			return err
		},
	}
}

func TestASpanIsToldTheConnectionOfEachCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, p, _ := warm(t, nil, func(cfg *pool.Config) { cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 2, 2, 1 }, pool.WithMinStreams(0))
		held := acquire(t, p, "a") // so there is one connection that it can be
		var want string
		for _, c := range stats(p, "a").Connections {
			if c.InFlight == 0 {
				want = fmt.Sprintf("pool.attempt conn=%d enclave_id=a", c.Index)
			}
		}
		for name, call := range tracedCalls(p, ss) {
			ctx := routing.WithKey(metadata.AppendToOutgoingContext(within(t, time.Minute), "authorization", secret), secret)
			span := traced(t, ctx, func(ctx context.Context) {
				if err := call(ctx); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
			got := told(span)
			// An idle stream gives its slot up as soon as a call would have to wait, and that is a wait, of no time here.
			if got = strings.TrimPrefix(got, "pool.wait enclave_id=a wait_ms=0, "); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
			if all := fmt.Sprint(span.Attributes(), span.Events(), span.Links(), span.Status()); strings.Contains(all, secret) {
				t.Errorf("%s: %s", name, all)
			}
		}
		held.Release()
	})
}

func TestASpanIsToldHowLongItsCallWaited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		one := func(cfg *pool.Config) { cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 1, 1, 1 }
		ss, p, _ := warm(t, nil, one, pool.WithMinStreams(0))
		const want = "pool.wait enclave_id=a wait_ms=30, pool.attempt conn=0 enclave_id=a"
		for name, call := range tracedCalls(p, ss) {
			held := acquire(t, p, "a")
			time.AfterFunc(30*time.Millisecond, held.Release)
			span := traced(t, routing.WithKey(within(t, time.Minute), "k"), func(ctx context.Context) {
				if err := call(ctx); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
			if got := told(span); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}

		// Who gives up has waited, too.
		held := acquire(t, p, "a")
		defer held.Release()
		span := traced(t, within(t, 20*time.Millisecond), func(ctx context.Context) {
			if _, err := p.Acquire(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		if got := told(span); got != "pool.wait enclave_id=a wait_ms=20" {
			t.Errorf("given up: %q", got)
		}
	})
}

func TestASpanIsToldOfEveryAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		hold := make(chan struct{})
		e := pooltest.NewMemory(t, (&service{hold: hold}).register)
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 2, 2
		const retries = `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":3,"initialBackoff":"0.001s","maxBackoff":"0.001s",
			"backoffMultiplier":1,"retryableStatusCodes":["UNAVAILABLE"]}}]}`
		p := newPool(t, cfg, pool.WithDialer(e.Dialer()), pool.WithServiceConfig(retries))
		ready(t, p)
		span := traced(t, within(t, time.Minute), func(ctx context.Context) {
			done := make(chan error, 1)
			go func() {
				_, err := client(p, "a").UnaryCall(ctx, &grpc_testing.SimpleRequest{})
				done <- err
			}()
			synctest.Wait()
			e.DropConns(2)
			time.Sleep(time.Second)
			close(hold)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		if got := told(span); strings.Count(got, "pool.attempt") != 2 {
			t.Errorf("a call that was repeated: %q", got)
		}
	})
}

// unsampled is a context as it is where tracing is on and this call is not
// sampled.
func unsampled(ctx context.Context) context.Context {
	ctx, _ = sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())).Tracer("test").Start(ctx, "caller")
	return ctx
}

func TestASpanThatIsNotSampledCostsNoAllocation(t *testing.T) {
	e := pooltest.Start(t, exchangeService(nil))
	p := newPool(t, socketConfig(e), pool.WithMeterProvider(noop.NewMeterProvider()))
	ready(t, p)
	ss := pool.NewStreams(p, pooltest.OpenExchange)
	timed := within(t, time.Hour)
	ctx := unsampled(timed)
	if trace.SpanFromContext(ctx).IsRecording() {
		t.Fatal("this span is sampled")
	}
	c, req, msg := client(p, "a"), &grpc_testing.SimpleRequest{}, value("digest")
	for name, call := range map[string]func(context.Context) error{
		"Acquire": func(ctx context.Context) error {
			l, err := p.Acquire(ctx, "a")
			p.Release(l)
			return err
		},
		"Conn":    func(ctx context.Context) error { _, err := c.UnaryCall(ctx, req); return err },
		"Streams": func(ctx context.Context) error { _, err := ss.Exchange(ctx, "a", msg); return err },
	} {
		least := func(ctx context.Context) float64 {
			n := 1e9
			for range 5 { // other goroutines allocate too, and gRPC's batches vary
				n = min(n, testing.AllocsPerRun(200, func() {
					if err := call(ctx); err != nil {
						t.Fatal(err)
					}
				}))
			}
			return n
		}
		// One more is gRPC's own unsteadiness, see TestAnExchangeAllocatesNothingOfItsOwn.
		if with, without := least(ctx), least(timed); with > without+1 || name == "Acquire" && with > without {
			t.Errorf("%s: %v allocations with a span that is not sampled, %v without", name, with, without)
		}
	}
}

// BenchmarkSpan shows what a span costs that is not sampled, and one that is,
// for Acquire and Release, a unary call and an exchange.
func BenchmarkSpan(b *testing.B) {
	e := pooltest.Start(b, exchangeService(nil))
	p := newPool(b, socketConfig(e), pool.WithMeterProvider(noop.NewMeterProvider()))
	ready(b, p)
	ss := pool.NewStreams(p, pooltest.OpenExchange)
	c, req, msg := client(p, "a"), &grpc_testing.SimpleRequest{}, value("digest")
	plain := within(b, time.Hour)
	sampled, span := sdktrace.NewTracerProvider().Tracer("test").Start(plain, "caller")
	defer span.End()
	for _, call := range []struct {
		name string
		call func(context.Context) error
	}{
		{"acquire", func(ctx context.Context) error { l, err := p.Acquire(ctx, "a"); p.Release(l); return err }},
		{"unary", func(ctx context.Context) error { _, err := c.UnaryCall(ctx, req); return err }},
		{"exchange", func(ctx context.Context) error { _, err := ss.Exchange(ctx, "a", msg); return err }},
	} {
		for _, with := range []struct {
			name string
			ctx  context.Context
		}{{"none", plain}, {"unsampled", unsampled(plain)}, {"sampled", sampled}} {
			b.Run(call.name+"/"+with.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := call.call(with.ctx); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
