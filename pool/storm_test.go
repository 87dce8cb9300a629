package pool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// 10 000 goroutines acquire, cancel and release while the enclave is resized
// and drained. When it is over nothing is in flight, nobody waits, and every
// slot can be had.
func TestTenThousandCallersLoseNoSlotWhileTheEnclaveIsResizedAndDrained(t *testing.T) {
	const callers, rounds = 10_000, 4
	e := pooltest.Start(t, (&service{}).register)
	cfg := config(e)
	cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams, cfg.MaxWaiters = 4, 8, 10, callers
	p := newPool(t, cfg)
	ready(t, p)

	var served, gaveUp, turnedAway atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 2))
			for range rounds {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(50_000))*time.Microsecond)
				l, err := p.Acquire(ctx, "a")
				switch {
				case err == nil:
					served.Add(1)
					l.Release()
				case errors.Is(err, ctx.Err()) && ctx.Err() != nil:
					gaveUp.Add(1)
				case errors.Is(err, pool.ErrDraining), errors.Is(err, pool.ErrUnavailable):
					turnedAway.Add(1)
				default:
					t.Errorf("Acquire: %v", err)
				}
				cancel()
				// Enough of a pause that those who change things get a turn.
				rest(t.Context(), time.Duration(rng.IntN(1000))*time.Millisecond)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	changes := 0
	rng := rand.New(rand.NewPCG(1, 2))
	for over := false; !over; changes++ {
		least := 1 + rng.IntN(8)
		if err := p.Resize("a", least, least+rng.IntN(8)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(5))*time.Millisecond)
		_ = p.Drain(ctx, "a") // whether it gets through in time is chance
		cancel()
		if err := p.Resume("a"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
			over = true
		case <-time.After(time.Duration(rng.IntN(10)) * time.Millisecond):
		}
	}
	t.Logf("%d served, %d gave up, %d turned away, %d changes", served.Load(), gaveUp.Load(), turnedAway.Load(), changes)
	if served.Load() == 0 || gaveUp.Load() == 0 || changes < 10 {
		t.Error("nothing much happened")
	}
	if err := p.Resize("a", 3, 3); err != nil {
		t.Fatal(err)
	}
	ready(t, p)
	eventually(t, "nothing in flight, three connections", func() bool {
		s := stats(p, "a")
		return s.InFlight == 0 && s.Waiters == 0 && s.HealthyConns == 3 && s.Conns == 3
	})
	checkFree(t, p, "a", 30)
}

// A leaked lease takes its slot and nothing else.
func TestALeakedLeaseCostsOneSlotAndNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, func(cfg *pool.Config) {
			cfg.MaxConns, cfg.MaxConcurrentStreams = 2, 2
		})
		forgotten := forgetful(t, p)
		if s := stats(p, "a"); s.InFlight != 1 || s.Capacity != 4 {
			t.Errorf("%d of %d in flight, want 1 of 4", s.InFlight, s.Capacity)
		}
		for range 100 {
			leases(t, p, 3)()
		}
		forgotten.Release()
		checkFree(t, p, "a", 4)
	})
}
