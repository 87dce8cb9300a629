package pool_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

func TestCallersWaitUnawareWhileATotalLossIsWithinTheBudget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, nil)
		e.Stop()
		synctest.Wait()
		const n = 10
		errs := make(chan error, 3*n)
		for range n {
			go func() {
				_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
				errs <- err
			}()
			go func() {
				s, err := client(p, "a").FullDuplexCall(t.Context())
				if err == nil {
					opened(t, s, err)
					toEOF(t, s)
				}
				errs <- err
			}()
			go func() {
				l, err := p.Acquire(t.Context(), "a")
				p.Release(l)
				errs <- err
			}()
		}
		time.Sleep(100 * time.Millisecond) // half of the budget
		select {
		case err := <-errs:
			t.Fatalf("a caller did not wait: %v", err)
		default:
		}
		if s := stats(p, "a"); s.State != breaker.Degraded || s.Cause == nil || s.HealthyConns != 0 || s.Conns != 0 || s.Waiters != 3*n {
			t.Errorf("while lost: %+v", s)
		}
		e.Restart()
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Errorf("a caller noticed: %v", err)
			}
		}
		synctest.Wait()
		ready(t, p)
		if s := stats(p, "a"); s.State != breaker.Healthy || s.Cause != nil || s.InFlight != 0 || s.Exhausted != 0 {
			t.Errorf("afterwards: %+v", s)
		}
	})
}

func TestAfterTheBudgetCallersFailAtOnceUntilTheEnclaveIsBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, nil)
		budget := pool.DefaultConfig().Reconnect.Budget
		e.Stop()
		synctest.Wait()
		start := time.Now()
		errs := make(chan error, 2)
		go func() {
			_, err := p.Acquire(t.Context(), "a")
			errs <- err
		}()
		go func() {
			_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
			errs <- err
		}()
		for range 2 {
			e := poolError(t, <-errs, "a", pool.ErrUnavailable, codes.Unavailable)
			if took := time.Since(start); took != budget {
				t.Errorf("gave up after %v; want the budget, %v", took, budget)
			}
			checkRetry(t, e)
		}

		for range 10 {
			time.Sleep(150 * time.Millisecond)
			now := time.Now()
			_, err := p.Acquire(t.Context(), "a")
			checkRetry(t, poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable))
			_, err = client(p, "a").FullDuplexCall(t.Context())
			checkRetry(t, poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable))
			// A context that has ended gets the better answer as well.
			_, err = p.Acquire(expired(), "a")
			poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable)
			if took := time.Since(now); took != 0 {
				t.Errorf("failed after %v; want at once", took)
			}
		}
		if s := stats(p, "a"); s.Exhausted != 0 || s.State != breaker.Degraded {
			t.Errorf("Exhausted %d, state %v; want 0, degraded", s.Exhausted, s.State)
		}

		back := time.Now()
		e.Restart()
		ready(t, p)
		if took := time.Since(back); took >= 200*time.Millisecond {
			t.Errorf("ready %v after the enclave came back; want less than 200ms", took)
		}
		everyKindOfCall(t.Context(), t, client(p, "a"))

		// The next loss has a budget of its own.
		e.Stop()
		synctest.Wait()
		go func() {
			time.Sleep(budget / 4) // there is an attempt after 60 to 90 ms
			e.Restart()
		}()
		if _, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err != nil {
			t.Errorf("after a second loss: %v", err)
		}
	})
}

func checkRetry(t *testing.T, e *pool.Error) {
	t.Helper()
	if e.RetryAfter <= 0 || e.RetryAfter > time.Second || e.Disposition != pool.NotSent || e.Cause == nil {
		t.Errorf("%v: RetryAfter %v, disposition %v, cause %v; want a time to wait, not_sent, a cause", e, e.RetryAfter, e.Disposition, e.Cause)
	}
	if got := retryInfo(t, e); got != e.RetryAfter {
		t.Errorf("RetryInfo says %v; want %v", got, e.RetryAfter)
	}
}

func TestABudgetOfZeroLetsNobodyWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, func(cfg *pool.Config) { cfg.Reconnect.Budget = 0 })
		e.Stop()
		synctest.Wait()
		start := time.Now()
		_, err := p.Acquire(t.Context(), "a")
		poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable)
		if took := time.Since(start); took != 0 {
			t.Errorf("failed after %v; want at once", took)
		}
	})
}

func TestACallersOwnDeadlineEndsTheWaitDuringALoss(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, nil)
		e.Stop()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := client(p, "a").UnaryCall(ctx, &grpc_testing.SimpleRequest{})
		poolError(t, err, "a", context.DeadlineExceeded, codes.DeadlineExceeded)
		if took := time.Since(start); took != 50*time.Millisecond {
			t.Errorf("gave up after %v; want 50ms", took)
		}
		if n := stats(p, "a").Waiters; n != 0 {
			t.Errorf("Waiters = %d", n)
		}
	})
}

func TestCallsBeforeTheFirstConnectionWaitForItWithinTheBudget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register)
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
		if _, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err != nil {
			t.Errorf("right after New: %v", err)
		}

		away := pooltest.NewMemory(t, (&service{}).register)
		away.Stop()
		p = newPool(t, config(away), pool.WithDialer(away.Dialer()))
		start := time.Now()
		_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		checkRetry(t, poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable))
		if took, want := time.Since(start), pool.DefaultConfig().Reconnect.Budget; took != want {
			t.Errorf("gave up after %v; want %v", took, want)
		}
	})
}

func TestOneEnclavesLossLeavesTheOthersAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{}
		a, b := pooltest.NewMemory(t, svc.register), pooltest.NewMemory(t, svc.register)
		p := newPool(t, config(a, b), pool.WithDialer(pooltest.DialerFor(a, b)))
		ready(t, p)
		a.Stop()
		start := time.Now()
		for range 100 {
			everyKindOfCall(t.Context(), t, client(p, "b"))
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("calls to b took %v of virtual time", took)
		}
	})
}

func TestLostConnectionsAreDialledAgain(t *testing.T) {
	e := pooltest.Start(t, (&service{}).register)
	cfg := socketConfig(e)
	cfg.MinConns, cfg.MaxConns = 16, 32
	p := newPool(t, cfg)
	ready(t, p)
	if s := stats(p, "a"); s.HealthyConns != 16 || s.Conns != 16 || e.Conns() != 16 || s.Dials != 16 {
		t.Fatalf("%d Healthy of %d connections, %d at the enclave, %d dials; want 16 each", s.HealthyConns, s.Conns, e.Conns(), s.Dials)
	}
	if n := e.DropConns(5); n != 5 {
		t.Fatalf("dropped %d connections", n)
	}
	eventually(t, "5 reconnects and 16 Healthy connections", func() bool {
		s := stats(p, "a")
		return s.Reconnects == 5 && s.HealthyConns == 16 && s.Conns == 16 && e.Conns() == 16
	})
	everyKindOfCall(t.Context(), t, client(p, "a"))
	s := stats(p, "a")
	if e.Accepted() != 21 || s.Dials != 21 {
		t.Errorf("%d accepted, %d dials; want 21 each", e.Accepted(), s.Dials)
	}
	seen := map[int]bool{}
	for _, c := range s.Connections {
		if c.State != breaker.Healthy || c.Cause != nil || c.OpenedAt.IsZero() || c.LastRead.IsZero() {
			t.Errorf("connection %+v", c)
		}
		seen[c.Index] = true
	}
	for i := range 16 {
		if !seen[i] {
			t.Errorf("no connection has the index %d; want 0 to 15", i)
		}
	}
}

func TestAGracefulGoAwayCostsNoCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		p, e := memoryPool(t, svc, nil)
		errs := make(chan error, 1)
		go func() {
			_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
			errs <- err
		}()
		synctest.Wait()
		stopped := make(chan struct{})
		go func() { e.GracefulStop(); close(stopped) }()
		synctest.Wait()
		late := make(chan error, 1)
		go func() {
			_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
			late <- err
		}()
		synctest.Wait()
		close(svc.hold)
		if err := <-errs; err != nil {
			t.Errorf("call in flight at the GOAWAY: %v", err)
		}
		<-stopped
		e.Restart()
		if err := <-late; err != nil {
			t.Errorf("call after the GOAWAY: %v", err)
		}
	})
}
