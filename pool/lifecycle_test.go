package pool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

func TestDrainWaitsForWhatIsInFlightAndClosesTheConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		p, e := memoryPool(t, svc, nil)
		call := begun(t, p.Conn("a"))
		l := acquire(t, p, "a")
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(within(t, patience), "a") }()
		synctest.Wait()

		_, err := p.Acquire(t.Context(), "a")
		poolError(t, err, "a", pool.ErrDraining, codes.Unavailable)
		if s := stats(p, "a"); s.State != breaker.Draining || s.InFlight != 2 || s.HealthyConns != 0 || s.Capacity != 0 {
			t.Errorf("while draining: %v, %d in flight, %d Healthy, capacity %d", s.State, s.InFlight, s.HealthyConns, s.Capacity)
		}
		// A lease is in flight, and works to its end.
		if _, err := grpc_testing.NewTestServiceClient(l).EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
			t.Errorf("call on a lease held through a drain: %v", err)
		}
		close(svc.hold)
		if err := <-call; err != nil {
			t.Errorf("call in flight: %v", err)
		}
		synctest.Wait()
		select {
		case err := <-drained:
			t.Fatalf("Drain returned %v with a lease out", err)
		default:
		}
		l.Release()
		if err := <-drained; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := stats(p, "a"); s.Conns != 0 || e.Conns() != 0 || s.State != breaker.Draining {
			t.Errorf("drained: %d connections here, %d there, %v", s.Conns, e.Conns(), s.State)
		}
		if err := p.Drain(t.Context(), "a"); err != nil {
			t.Errorf("draining what is drained: %v", err)
		}
		time.Sleep(time.Minute)
		if s := stats(p, "a"); s.Dials != 2 {
			t.Errorf("a drained enclave was dialled: %d dials", s.Dials)
		}
	})
}

func TestADrainWhoseContextEndsGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, nil)
		l := acquire(t, p, "a")
		err := p.Drain(within(t, time.Second), "a")
		poolError(t, err, "a", context.DeadlineExceeded, codes.DeadlineExceeded)
		if want := "1 calls or leases"; !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
		l.Release()
		synctest.Wait()
		if n := e.Conns(); n != 0 {
			t.Errorf("%d connections are open after the last lease came back", n)
		}
	})
}

func TestQueuedCallersOfADrainedEnclaveAreToldAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, single)
		l := acquire(t, p, "a")
		errs := make(chan error, 1)
		go func() { _, err := p.Acquire(t.Context(), "a"); errs <- err }()
		synctest.Wait()
		go func() { _ = p.Drain(within(t, patience), "a") }() // ends with the lease below
		err := <-errs
		if e := poolError(t, err, "a", pool.ErrDraining, codes.Unavailable); e.RetryAfter <= 0 {
			t.Errorf("%v has no RetryAfter", e)
		}
		l.Release()
		synctest.Wait()
	})
}

func TestResumeTakesADrainBackAndReusesWhatIsOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, nil)
		l := acquire(t, p, "a")
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(within(t, patience), "a") }()
		synctest.Wait()
		if err := p.Resume("a"); err != nil {
			t.Fatal(err)
		}
		if err := <-drained; err == nil {
			t.Error("Drain said nothing of having been taken back")
		}
		ready(t, p)
		if s := stats(p, "a"); s.State != breaker.Healthy || s.HealthyConns != 2 || s.Dials != 2 {
			t.Errorf("after Resume: %v, %d Healthy, %d dials; want healthy, 2, 2", s.State, s.HealthyConns, s.Dials)
		}
		l.Release()
		everyKindOfCall(t.Context(), t, client(p, "a"))
		if err := p.Resume("a"); err != nil {
			t.Errorf("resuming what is not drained: %v", err)
		}
	})
}

func TestResumeDialsADrainedEnclaveAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, nil)
		for range 3 {
			if err := p.Drain(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			if err := p.Resume("a"); err != nil {
				t.Fatal(err)
			}
			ready(t, p)
			everyKindOfCall(t.Context(), t, client(p, "a"))
		}
		if s := stats(p, "a"); s.Dials != 2+3*2 {
			t.Errorf("%d dials, want 8", s.Dials)
		}
	})
}

func TestALeaseWhoseConnectionIsLostIsStillWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, nil)
		l := acquire(t, p, "a")
		e.DropConns(2)
		synctest.Wait()
		ready(t, p)
		if s := stats(p, "a"); s.InFlight != 1 {
			t.Errorf("%d in flight with a lease out, want 1", s.InFlight)
		}
		err := p.Drain(within(t, time.Second), "a")
		poolError(t, err, "a", context.DeadlineExceeded, codes.DeadlineExceeded)
		l.Release()
		if err := p.Drain(within(t, time.Second), "a"); err != nil {
			t.Error(err)
		}
		if s := stats(p, "a"); s.InFlight != 0 {
			t.Errorf("%d in flight at the end", s.InFlight)
		}
	})
}

func TestLifecycleCallsNameAnUnknownEnclave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, nil)
		poolError(t, p.Drain(t.Context(), "x"), "x", pool.ErrUnknownEnclave, codes.NotFound)
		poolError(t, p.Resume("x"), "x", pool.ErrUnknownEnclave, codes.NotFound)
		poolError(t, p.Resize("x", 1, 2), "x", pool.ErrUnknownEnclave, codes.NotFound)
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		poolError(t, p.Drain(t.Context(), "a"), "a", pool.ErrClosed, codes.Unavailable)
		poolError(t, p.Resume("a"), "a", pool.ErrClosed, codes.Unavailable)
		poolError(t, p.Resize("a", 1, 2), "a", pool.ErrClosed, codes.Unavailable)
	})
}

func TestResizeOpensAndClosesConnectionsAndRefusesNonsense(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, nil)
		for _, c := range []struct{ least, most, want int }{{8, 12, 8}, {3, 3, 3}, {1, 8, 3}, {5, 5, 5}} {
			if err := p.Resize("a", c.least, c.most); err != nil {
				t.Fatal(err)
			}
			ready(t, p)
			synctest.Wait()
			s := stats(p, "a")
			if s.HealthyConns != c.want || e.Conns() != c.want || s.MinConns != c.least || s.MaxConns != c.most {
				t.Errorf("Resize(%d, %d): %d Healthy, %d there, bounds %d to %d; want %d", c.least, c.most, s.HealthyConns, e.Conns(), s.MinConns, s.MaxConns, c.want)
			}
			for i, conn := range s.Connections {
				if conn.Index >= 8 || i > 0 && conn.Index == s.Connections[i-1].Index {
					t.Errorf("indices are not reused: %+v", s.Connections)
				}
			}
		}
		for _, c := range [][2]int{{0, 4}, {4, 3}, {-1, -1}, {1, 1025}} {
			err := p.Resize("a", c[0], c[1])
			var f *pool.FieldError
			if !errors.Is(err, pool.ErrConfig) || !errors.As(err, &f) {
				t.Errorf("Resize(%d, %d) = %v, want ErrConfig and a field", c[0], c[1], err)
			}
		}
		if s := stats(p, "a"); s.MinConns != 5 || s.MaxConns != 5 || s.HealthyConns != 5 {
			t.Errorf("a refused Resize changed something: %+v", s)
		}
	})
}

func TestAConnectionThatIsResizedAwayFinishesWhatItHas(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		p, _ := memoryPool(t, svc, nil)
		calls := []<-chan error{begun(t, p.Conn("a")), begun(t, p.Conn("a")), begun(t, p.Conn("a"))}
		l := acquire(t, p, "a")
		if err := p.Resize("a", 1, 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := stats(p, "a"); s.HealthyConns != 1 || s.InFlight != 4 {
			t.Errorf("%d Healthy, %d in flight; want 1, 4", s.HealthyConns, s.InFlight)
		}
		if _, err := grpc_testing.NewTestServiceClient(l).EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
			t.Errorf("a lease whose connection has left: %v", err)
		}
		l.Release()
		close(svc.hold)
		for _, c := range calls {
			if err := <-c; err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if s := stats(p, "a"); s.Conns != 1 || s.InFlight != 0 {
			t.Errorf("at the end %d connections, %d in flight; want 1, 0", s.Conns, s.InFlight)
		}
	})
}

// 1 000 Resizes, Drains and Resumes under load, on a real socket: no call
// fails but with ErrDraining, which is what a drain is.
func TestNoCallFailsThroughAThousandResizesAndDrains(t *testing.T) {
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, seed))
	svc := &service{}
	enclaves := []*pooltest.Enclave{pooltest.Start(t, svc.register), pooltest.Start(t, svc.register)}
	cfg := config(enclaves...)
	p := newPool(t, cfg)
	ready(t, p)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var calls, turnedAway atomic.Int64
	for i := range 8 {
		wg.Go(func() {
			c := client(p, string(rune('a'+i%2)))
			for ctx.Err() == nil {
				// The call has a context of its own: stop must not cancel it.
				_, err := c.UnaryCall(within(t, patience), &grpc_testing.SimpleRequest{Payload: body(32)})
				switch {
				case err == nil:
					calls.Add(1)
				case i%2 == 1 && errors.Is(err, pool.ErrDraining):
					turnedAway.Add(1)
					<-time.After(100 * time.Microsecond)
				default:
					t.Errorf("call failed: %v", err)
					return
				}
			}
		})
	}
	for range 1000 {
		least := 1 + rng.IntN(6)
		if err := p.Resize("a", least, least+rng.IntN(6)); err != nil {
			t.Fatal(err)
		}
		if err := p.Drain(within(t, patience), "b"); err != nil {
			t.Fatal(err)
		}
		if err := p.Resume("b"); err != nil {
			t.Fatal(err)
		}
		before := calls.Load()
		eventually(t, "calls go on", func() bool { return calls.Load() >= before+5 || t.Failed() })
	}
	stop()
	wg.Wait()
	ready(t, p)
	for _, id := range []string{"a", "b"} {
		eventually(t, "nothing in flight, nothing too many", func() bool {
			s := stats(p, id)
			return s.InFlight == 0 && s.Conns == s.HealthyConns && s.Conns >= s.MinConns && s.Conns <= s.MaxConns
		})
	}
	t.Logf("%d calls, %d turned away by drains", calls.Load(), turnedAway.Load())
}
