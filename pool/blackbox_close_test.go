package pool_test

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// begun makes a unary call in the background and returns when it is with the
// enclave.
func begun(t *testing.T, c grpc.ClientConnInterface) <-chan error {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		_, err := grpc_testing.NewTestServiceClient(c).UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		result <- err
	}()
	synctest.Wait()
	return result
}

func TestCloseLetsCallsInFlightFinishAndTurnsWaitersAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		p, e := memoryPool(t, svc, single)
		inFlight := begun(t, p.Conn("a"))
		waiting := begun(t, p.Conn("a"))
		if s := stats(p, "a"); s.InFlight != 1 || s.Waiters != 1 {
			t.Fatalf("InFlight, Waiters = %d, %d; want 1, 1", s.InFlight, s.Waiters)
		}
		closed := make(chan error, 1)
		go func() { closed <- p.Close(t.Context()) }()
		synctest.Wait()

		select {
		case err := <-waiting:
			poolError(t, err, "a", pool.ErrClosed, codes.Unavailable)
		default:
			t.Error("a waiter was not told that the pool closes")
		}
		_, err := p.Acquire(t.Context(), "a")
		poolError(t, err, "a", pool.ErrClosed, codes.Unavailable)
		_, err = client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true))
		poolError(t, err, "a", pool.ErrClosed, codes.Unavailable)
		select {
		case err := <-closed:
			t.Fatalf("Close returned %v with a call in flight", err)
		case err := <-inFlight:
			t.Fatalf("the call in flight ended: %v", err)
		default:
		}
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("a second Close: %v; want nil at once", err)
		}

		close(svc.hold)
		if err := <-inFlight; err != nil {
			t.Errorf("call in flight: %v; want it to finish", err)
		}
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
		synctest.Wait()
		if e.Conns() != 0 {
			t.Errorf("%d connections are still open", e.Conns())
		}
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("Close again: %v", err)
		}
		_, err = p.Acquire(t.Context(), "a")
		poolError(t, err, "a", pool.ErrClosed, codes.Unavailable)
	})
}

func TestCloseCutsWhatOutlastsItsContextAndCountsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		p, e := memoryPool(t, svc, nil)
		calls := []<-chan error{begun(t, p.Conn("a")), begun(t, p.Conn("a"))}
		stream, err := client(p, "a").FullDuplexCall(t.Context())
		opened(t, stream, err)
		idle := acquire(t, p, "a")
		if n := stats(p, "a").InFlight; n != 4 {
			t.Fatalf("InFlight = %d; want 4", n)
		}

		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err = p.Close(ctx)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("Close took %v; want 3s", took)
		}
		var pe *pool.Error
		if !errors.As(err, &pe) || pe.EnclaveID != "a" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v; want a *pool.Error about a that wraps the context's end", err)
		}
		if err == nil || !regexp.MustCompile(`\b4\b`).MatchString(err.Error()) {
			t.Errorf("Close: %v; want it to count the 4 that were left", err)
		}
		for i, c := range calls {
			if err := <-c; status.Code(err) != codes.Unavailable {
				t.Errorf("call %d that was cut: %v; want Unavailable", i, err)
			}
		}
		if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("stream that was cut: %v; want Unavailable", err)
		}
		if _, err := grpc_testing.NewTestServiceClient(idle).EmptyCall(t.Context(), &grpc_testing.Empty{}); !errors.Is(err, pool.ErrClosed) {
			t.Errorf("call on a lease of a closed pool: %v; want ErrClosed", err)
		}
		idle.Release()
		synctest.Wait()
		if n := svc.running.Load(); n != 0 || e.Conns() != 0 || stats(p, "a").InFlight != 0 {
			t.Errorf("%d handlers, %d connections, InFlight %d; want none", n, e.Conns(), stats(p, "a").InFlight)
		}
	})
}

func TestCloseWaitsForLeasesThatAreOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, nil)
		l := acquire(t, p, "a")
		closed := make(chan error, 1)
		go func() { closed <- p.Close(t.Context()) }()
		synctest.Wait()
		// The lease was given out before; it goes on to work.
		if _, err := grpc_testing.NewTestServiceClient(l).EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
			t.Errorf("call on a lease while the pool closes: %v", err)
		}
		select {
		case err := <-closed:
			t.Fatalf("Close returned %v with a lease out", err)
		default:
		}
		l.Release()
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestCloseReturnsAtOnceWhenNothingIsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for name, prepare := range map[string]func(*pooltest.Enclave){
			"idle":   func(*pooltest.Enclave) {},
			"lost":   func(e *pooltest.Enclave) { e.Stop() },
			"frozen": func(e *pooltest.Enclave) { e.Freeze() },
		} {
			p, e := memoryPool(t, &service{}, nil)
			prepare(e)
			synctest.Wait()
			start := time.Now()
			if err := p.Close(t.Context()); err != nil {
				t.Errorf("%s: Close: %v", name, err)
			}
			if took := time.Since(start); took > 50*time.Millisecond {
				t.Errorf("%s: Close took %v", name, took)
			}
		}
	})
}

func TestCloseDuringTheFirstDialEndsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, nil)
		e.Freeze()
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
		start := time.Now()
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(start); took > 50*time.Millisecond {
			t.Errorf("Close took %v", took)
		}
	})
}

func TestCloseOfAFrozenEnclavesCallsIsBoundedByItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		p, e := memoryPool(t, svc, func(cfg *pool.Config) { cfg.Health.Disabled = true })
		call := begun(t, p.Conn("a"))
		e.Freeze()
		start := time.Now()
		if err := p.Close(expired()); err == nil {
			t.Error("Close cut a call and said nothing")
		}
		if took := time.Since(start); took > 50*time.Millisecond {
			t.Errorf("Close took %v", took)
		}
		if err := <-call; status.Code(err) != codes.Unavailable {
			t.Errorf("call that was cut: %v; want Unavailable", err)
		}
	})
}
