package pool_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

func TestReadyWaitsForTheMinimumOfEveryEnclave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := pooltest.NewMemory(t, nil), pooltest.NewMemory(t, nil)
		b.Stop()
		cfg := config(a, b)
		cfg.Enclaves[1].MinConns = 3
		p := newPool(t, cfg, pool.WithDialer(pooltest.DialerFor(a, b)))
		done := make(chan error, 1)
		go func() { done <- p.Ready(t.Context()) }()
		time.Sleep(time.Second)
		select {
		case err := <-done:
			t.Fatalf("Ready returned %v with an enclave missing", err)
		default:
		}
		b.Restart()
		if err := <-done; err != nil {
			t.Errorf("Ready: %v", err)
		}
		sa, sb := stats(p, "a"), stats(p, "b")
		if sa.HealthyConns != 2 || sb.HealthyConns != 3 || sb.MinConns != 3 || sb.MaxConns != 4 {
			t.Errorf("a: %+v\nb: %+v\nwant 2 and 3 Healthy connections", sa, sb)
		}
		if sa.State != breaker.Healthy || sa.Cause != nil || sb.State != breaker.Healthy || sb.Cause != nil {
			t.Errorf("a is %v (%v), b is %v (%v); want both Healthy without a cause", sa.State, sa.Cause, sb.State, sb.Cause)
		}
	})
}

func TestReadysErrorNamesEachMissingEnclaveAndItsCause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fine, away, unwilling := pooltest.NewMemory(t, nil), pooltest.NewMemory(t, nil), pooltest.NewMemory(t, nil)
		away.Stop()
		unwilling.SetServing(false)
		p := newPool(t, config(fine, away, unwilling), pool.WithDialer(pooltest.DialerFor(fine, away, unwilling)))
		start := time.Now()
		err := p.Ready(within(t, time.Second))
		if took := time.Since(start); took != time.Second {
			t.Errorf("Ready gave up after %v; want 1s", took)
		}
		byID := map[string]*pool.Error{}
		for _, e := range poolErrors(err) {
			byID[e.EnclaveID] = e
		}
		if len(byID) != 2 || byID["b"] == nil || byID["c"] == nil {
			t.Fatalf("Ready: %v; want an error for b and one for c", err)
		}
		if !errors.Is(byID["b"], syscall.ECONNREFUSED) {
			t.Errorf("b: %v; want its cause, ECONNREFUSED", byID["b"])
		}
		if errors.Is(byID["c"], syscall.ECONNREFUSED) {
			t.Errorf("c has b's cause: %v", byID["c"])
		}
		if c := stats(p, "c"); c.State != breaker.Degraded || c.Cause == nil || c.HealthyConns != 0 {
			t.Errorf("c is %v with %d Healthy connections, cause %v", c.State, c.HealthyConns, c.Cause)
		}
	})
}

func TestAnEnclaveThatIsNotServingIsNotAdmittedUntilItIs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register)
		e.SetServing(false)
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
		for range 20 {
			time.Sleep(100 * time.Millisecond)
			if s := stats(p, "a"); s.HealthyConns != 0 || s.Capacity != 0 {
				t.Fatalf("%d Healthy connections, Capacity %d; want none", s.HealthyConns, s.Capacity)
			}
		}
		_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable)
		e.SetServing(true)
		start := time.Now()
		ready(t, p)
		cfg := pool.DefaultConfig()
		if took := time.Since(start); took > cfg.Health.Cooldown+cfg.Health.Interval {
			t.Errorf("admitted %v after it said SERVING", took)
		}
		everyKindOfCall(t.Context(), t, client(p, "a"))
	})
}

func TestAnEnclaveWithoutAHealthServiceIsAdmitted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register, pooltest.WithoutHealthService())
		var logs logBook
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()), logs.option())
		ready(t, p)
		everyKindOfCall(t.Context(), t, client(p, "a"))
		time.Sleep(time.Minute)
		if s := stats(p, "a"); s.HealthyConns != 2 || s.Ejections != 0 {
			t.Errorf("after a minute %d Healthy, %d ejections", s.HealthyConns, s.Ejections)
		}
		said := 0
		for _, r := range logs.records(t) {
			if text, _ := r["msg"].(string); strings.HasPrefix(text, "the enclave has no health service") {
				said++
			}
		}
		if said != 1 {
			t.Errorf("that was said %d times", said)
		}
		e.Freeze() // its silence is a sign still
		time.Sleep(5 * time.Second)
		if s := stats(p, "a"); s.HealthyConns != 0 || s.Ejections != 2 {
			t.Errorf("frozen: %d Healthy, %d ejections", s.HealthyConns, s.Ejections)
		}
		e.Thaw()
	})
}

// checker is a health service that notes the connection of every Check and
// answers as it is told.
type checker struct {
	grpc_health_v1.UnimplementedHealthServer
	answer func(ctx context.Context) (*grpc_health_v1.HealthCheckResponse, error)

	mu    sync.Mutex
	conns []string
	names []string
}

func (c *checker) Check(ctx context.Context, in *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	c.mu.Lock()
	c.conns = append(c.conns, connOf(ctx))
	c.names = append(c.names, in.Service)
	c.mu.Unlock()
	if c.answer != nil {
		return c.answer(ctx)
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func TestEveryConnectionIsCheckedBeforeItIsAdmitted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := &checker{}
		e := pooltest.NewMemory(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, c) },
			pooltest.WithoutHealthService(), pooltest.WithServerOptions(connTags()))
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
		ready(t, p)
		c.mu.Lock()
		defer c.mu.Unlock()
		slices.Sort(c.conns)
		if got := slices.Compact(c.conns); len(got) != 2 || len(c.names) != 2 {
			t.Errorf("%d checks on the connections %v; want one on each of 2", len(c.names), got)
		}
		for _, name := range c.names {
			if name != "" {
				t.Errorf("Check of service %q; want the whole server's", name)
			}
		}
		if s := stats(p, "a"); s.Acquires != 0 || s.InFlight != 0 {
			t.Errorf("Acquires, InFlight = %d, %d; probes are not to be counted", s.Acquires, s.InFlight)
		}
	})
}

func TestACheckThatIsNotAnsweredAdmitsNothing(t *testing.T) {
	for name, answer := range map[string]func(context.Context) (*grpc_health_v1.HealthCheckResponse, error){
		"hangs": func(ctx context.Context) (*grpc_health_v1.HealthCheckResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"fails": func(context.Context) (*grpc_health_v1.HealthCheckResponse, error) {
			return nil, errInterceptor
		},
		"unknown": func(context.Context) (*grpc_health_v1.HealthCheckResponse, error) {
			return &grpc_health_v1.HealthCheckResponse{}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := &checker{answer: answer}
				e := pooltest.NewMemory(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, c) },
					pooltest.WithoutHealthService(), pooltest.WithServerOptions(connTags()))
				p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
				err := p.Ready(within(t, 3*time.Second))
				if errs := poolErrors(err); len(errs) != 1 || errs[0].Cause == nil {
					t.Errorf("Ready: %v; want one error with a cause", err)
				}
				if s := stats(p, "a"); s.HealthyConns != 0 {
					t.Errorf("%d Healthy connections", s.HealthyConns)
				}
			})
		})
	}
}

func TestWithHealthDisabledConnectionsAreAdmittedUnchecked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register)
		e.SetServing(false)
		cfg := config(e)
		cfg.Health.Disabled = true
		p := newPool(t, cfg, pool.WithDialer(e.Dialer()))
		ready(t, p)
		everyKindOfCall(t.Context(), t, client(p, "a"))
	})
}

func TestReadyOfAClosedPoolFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, nil)
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.Ready(within(t, time.Second)); !errors.Is(err, pool.ErrClosed) {
			t.Errorf("Ready: %v; want ErrClosed", err)
		}
	})
}

func TestCloseWakesThoseWhoWaitForReady(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, nil)
		e.Stop()
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
		done := make(chan error, 1)
		go func() { done <- p.Ready(t.Context()) }()
		synctest.Wait()
		start := time.Now()
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-done; !errors.Is(err, pool.ErrClosed) {
			t.Errorf("Ready: %v; want ErrClosed", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}
