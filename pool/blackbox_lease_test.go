package pool_test

import (
	"context"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
)

func TestALeaseCarriesOneCallAtATime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, nil)
		l := acquire(t, p, "a")
		defer l.Release()
		if l.EnclaveID() != "a" {
			t.Errorf("EnclaveID = %q", l.EnclaveID())
		}
		c := grpc_testing.NewTestServiceClient(l)
		s, err := c.FullDuplexCall(t.Context())
		opened(t, s, err)

		_, err = c.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		poolError(t, err, "a", pool.ErrLeaseBusy, codes.FailedPrecondition)
		_, err = c.FullDuplexCall(t.Context())
		poolError(t, err, "a", pool.ErrLeaseBusy, codes.FailedPrecondition)

		// The stream is none the worse for it.
		if err := s.Send(message("still here")); err != nil {
			t.Error(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Error(err)
		}
		toEOF(t, s)
		if s := stats(p, "a"); s.InFlight != 1 {
			t.Errorf("InFlight = %d with the lease out; want 1", s.InFlight)
		}
	})
}

func TestALeaseCarriesAnyNumberOfCallsOneAfterAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, single)
		l := acquire(t, p, "a")
		for range 20 {
			everyKindOfCall(t.Context(), t, grpc_testing.NewTestServiceClient(l))
			if s := stats(p, "a"); s.InFlight != 1 || s.Acquires != 1 {
				t.Fatalf("InFlight, Acquires = %d, %d; want 1, 1", s.InFlight, s.Acquires)
			}
		}
		l.Release()
		if s := stats(p, "a"); s.InFlight != 0 {
			t.Errorf("InFlight = %d after Release", s.InFlight)
		}
	})
}

func TestALeaseUsesOneConnectionWhileItLasts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, func(cfg *pool.Config) { cfg.MinConns = 4 })
		l := acquire(t, p, "a")
		defer l.Release()
		busy := func() (at []int) {
			for _, c := range stats(p, "a").Connections {
				if c.InFlight > 0 {
					at = append(at, c.Index)
				}
			}
			return at
		}
		first := busy()
		if len(first) != 1 {
			t.Fatalf("connections in use: %v; want one", first)
		}
		for range 10 {
			everyKindOfCall(t.Context(), t, grpc_testing.NewTestServiceClient(l))
			if now := busy(); len(now) != 1 || now[0] != first[0] {
				t.Fatalf("connections in use: %v, then %v", first, now)
			}
		}
	})
}

func TestALeaseMovesWhenItsConnectionIsLostBetweenCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		// It may not grow, or it does while the slots are counted at the end.
		p, e := memoryPool(t, &service{}, func(cfg *pool.Config) { cfg.MaxConns = 2 })
		var leases []*pool.Lease
		for range 10 {
			leases = append(leases, acquire(t, p, "a"))
		}
		for round := range 5 {
			e.DropConns(1)
			if round%2 == 1 {
				e.DropConns(e.Conns()) // the other one too: a total loss
			}
			synctest.Wait()
			for _, l := range leases {
				everyKindOfCall(t.Context(), t, grpc_testing.NewTestServiceClient(l))
			}
			ready(t, p)
			if s := stats(p, "a"); s.InFlight != len(leases) {
				t.Fatalf("round %d: InFlight = %d with %d leases out", round, s.InFlight, len(leases))
			}
		}
		for _, l := range leases {
			l.Release()
		}
		if s := stats(p, "a"); s.InFlight != 0 {
			t.Errorf("InFlight = %d after Release", s.InFlight)
		}
		checkFree(t, p, "a", stats(p, "a").Capacity)
	})
}

// checkFree checks that exactly n slots can be taken.
func checkFree(t *testing.T, p *pool.Pool, id string, n int) {
	t.Helper()
	eventually(t, "the end of any ramp", func() bool { return stats(p, id).Capacity >= n })
	var taken []*pool.Lease
	for l, err := p.Acquire(expired(), id); err == nil && len(taken) <= n; l, err = p.Acquire(expired(), id) {
		taken = append(taken, l)
	}
	if len(taken) != n {
		t.Errorf("%d slots could be taken; want %d", len(taken), n)
	}
	for _, l := range taken {
		l.Release()
	}
}

func TestReleaseIsIdempotent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, single)
		l := acquire(t, p, "a")
		l.Release()
		l.Release()
		p.Release(l)
		p.Release(nil)
		if s := stats(p, "a"); s.InFlight != 0 {
			t.Errorf("InFlight = %d", s.InFlight)
		}
		checkFree(t, p, "a", 1)
		// Nor does a late Release take away the slot of the next one.
		next := acquire(t, p, "a")
		l.Release()
		if s := stats(p, "a"); s.InFlight != 1 {
			t.Errorf("InFlight = %d; want 1", s.InFlight)
		}
		next.Release()
	})
}

func TestReleaseWhileAStreamIsOpenReturnsTheSlotWhenItEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, single)
		l := acquire(t, p, "a")
		s, err := grpc_testing.NewTestServiceClient(l).FullDuplexCall(t.Context())
		opened(t, s, err)
		l.Release()
		l.Release()
		if n := stats(p, "a").InFlight; n != 1 {
			t.Errorf("InFlight = %d with the stream open; want 1", n)
		}
		if _, err := p.Acquire(expired(), "a"); err == nil {
			t.Error("the stream's slot was given away")
		}
		if err := s.Send(message("still here")); err != nil {
			t.Error(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Error(err)
		}
		toEOF(t, s)
		synctest.Wait()
		if n := stats(p, "a").InFlight; n != 0 {
			t.Errorf("InFlight = %d after the stream; want 0", n)
		}
		checkFree(t, p, "a", 1)
	})
}

func TestACallOnAReleasedLeaseFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, single)
		l := acquire(t, p, "a")
		l.Release()
		c := grpc_testing.NewTestServiceClient(l)
		_, err := c.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		poolError(t, err, "a", pool.ErrLeaseReleased, codes.FailedPrecondition)
		_, err = c.FullDuplexCall(context.Background())
		poolError(t, err, "a", pool.ErrLeaseReleased, codes.FailedPrecondition)
		checkFree(t, p, "a", 1)
	})
}
