package pool_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// traffic keeps callers exchanging, each request with an ID of its own that its
// answer has to carry.
type traffic struct {
	wg       sync.WaitGroup
	stop     chan struct{}
	served   atomic.Int64
	inFlight atomic.Int64

	mu   sync.Mutex
	errs []error
}

func startTraffic(tb testing.TB, ss *warmStreams, callers int, pause func(*rand.Rand) time.Duration) *traffic {
	tr := &traffic{stop: make(chan struct{})}
	var ids atomic.Uint64
	for i := range callers {
		tr.wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for {
				select {
				case <-tr.stop:
					return
				case <-time.After(pause(rng)):
				}
				id := ids.Add(1)
				tr.inFlight.Add(1)
				res, err := ss.Exchange(context.Background(), "a", &bytesValue{Value: binary.BigEndian.AppendUint64(nil, id)})
				tr.inFlight.Add(-1)
				switch {
				case err != nil:
					tr.mu.Lock()
					tr.errs = append(tr.errs, err)
					tr.mu.Unlock()
				case binary.BigEndian.Uint64(res.Value) != id:
					tb.Errorf("request %d got the answer to %d", id, binary.BigEndian.Uint64(res.Value))
				default:
					tr.served.Add(1)
				}
			}
		})
	}
	return tr
}

// end stops the callers and returns what failed.
func (tr *traffic) end() []error {
	close(tr.stop)
	tr.wg.Wait()
	return tr.errs
}

// working answers after a millisecond.
func working(ctx context.Context, req []byte) ([]byte, error) {
	select {
	case <-time.After(time.Millisecond):
		return req, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func steady(*rand.Rand) time.Duration { return 2 * time.Millisecond }

// underExchanges runs fault while 20 callers exchange over 4 connections, and
// returns the errors they got, which no fault here may make many.
func underExchanges(t *testing.T, fault func(p *pool.Pool, e *pooltest.Enclave, tr *traffic), opts ...pool.StreamOption) []error {
	t.Helper()
	ss, p, e := warm(t, working, func(cfg *pool.Config) { cfg.MinConns, cfg.MaxConns = 4, 8 }, opts...)
	tr := startTraffic(t, ss, 20, steady)
	time.Sleep(time.Second)
	before := tr.served.Load()
	fault(p, e, tr)
	time.Sleep(time.Second)
	errs := tr.end()
	if tr.served.Load() < before+500 {
		t.Errorf("%d served before the fault, %d in all", before, tr.served.Load())
	}
	synctest.Wait()
	if s := warmStats(ss); s.Busy != 0 || s.Open > 60 {
		t.Errorf("afterwards: %+v", s)
	}
	return errs
}

func drops(_ *pool.Pool, e *pooltest.Enclave, _ *traffic) {
	for range 50 {
		e.DropConns(1)
		time.Sleep(20 * time.Millisecond)
	}
}

func TestALostConnectionFailsNoMoreExchangesThanItCarried(t *testing.T) {
	bubble(t, func(t *testing.T) {
		errs := underExchanges(t, drops)
		// 20 callers over 4 connections: 5 on each, more on some; 20 is what
		// one connection could carry at the worst.
		if n := len(errs); n == 0 || n > 50*20 {
			t.Errorf("%d exchanges failed", n)
		}
		for _, err := range errs {
			if e := poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable); e.Disposition != pool.Unknown {
				t.Errorf("disposition %v: %v", e.Disposition, err)
			}
		}
	})
}

func TestIdempotentExchangesSurviveLostConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		if errs := underExchanges(t, drops, pool.WithIdempotent()); len(errs) > 0 {
			t.Errorf("%d exchanges failed, the first: %v", len(errs), errs[0])
		}
	})
}

func TestAllConnectionsLostAtOnceFailWhatWasInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var inFlight int64
		errs := underExchanges(t, func(_ *pool.Pool, e *pooltest.Enclave, tr *traffic) {
			synctest.Wait()
			inFlight = tr.inFlight.Load()
			e.DropConns(100)
		})
		if int64(len(errs)) > inFlight {
			t.Errorf("%d exchanges failed, %d were in flight", len(errs), inFlight)
		}
	})
}

func TestResizeCostsNoExchange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		errs := underExchanges(t, func(p *pool.Pool, _ *pooltest.Enclave, _ *traffic) {
			for i := range 50 {
				if err := p.Resize("a", 1+i%8, 8); err != nil {
					t.Fatal(err)
				}
				if err := p.Resize("a", 1, 1+(i+3)%8); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		if len(errs) > 0 {
			t.Errorf("%d exchanges failed, the first: %v", len(errs), errs[0])
		}
	})
}

func TestDrainCostsNoExchangeThatHadBegun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		errs := underExchanges(t, func(p *pool.Pool, _ *pooltest.Enclave, _ *traffic) {
			for range 20 {
				if err := p.Drain(within(t, patience), "a"); err != nil {
					t.Fatal(err)
				}
				if err := p.Resume("a"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
		for _, err := range errs {
			if !errors.Is(err, pool.ErrDraining) {
				t.Fatal(err)
			}
		}
	})
}

func TestConnectionsReplacedAtTheirAgeCostNoExchange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, p, _ := warm(t, working, func(cfg *pool.Config) { cfg.MaxConnAge = time.Second })
		tr := startTraffic(t, ss, 20, steady)
		time.Sleep(10 * time.Second)
		if errs := tr.end(); len(errs) > 0 {
			t.Errorf("%d exchanges failed, the first: %v", len(errs), errs[0])
		}
		if s := stats(p, "a"); s.Dials < 15 || s.Conns > 4 {
			t.Errorf("%d dials, %d connections now: they were not replaced, or did not leave", s.Dials, s.Conns)
		}
	})
}

// The polite end of an enclave is over as soon as its streams are: idle ones
// must not hold it up.
func TestAnEnclaveThatRestartsPolitelyCostsNoExchange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		errs := underExchanges(t, func(_ *pool.Pool, e *pooltest.Enclave, _ *traffic) {
			for range 10 {
				start := time.Now()
				e.GracefulStop()
				if d := time.Since(start); d > 100*time.Millisecond {
					t.Errorf("GracefulStop took %v", d)
				}
				e.Restart()
				time.Sleep(200 * time.Millisecond)
			}
		})
		if len(errs) > 0 {
			t.Errorf("%d exchanges failed, the first: %v", len(errs), errs[0])
		}
	})
}

func TestAFrozenEnclaveFailsTheExchangesItHasAndIsOutOfRotationWithin250ms(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, p, e := warm(t, working, nil)
		tr := startTraffic(t, ss, 20, steady)
		time.Sleep(time.Second)
		e.Freeze()
		start := time.Now()
		for stats(p, "a").HealthyConns > 0 {
			time.Sleep(time.Millisecond)
			if time.Since(start) > time.Second {
				t.Fatal("still in rotation after 1s")
			}
		}
		if d := time.Since(start); d > 250*time.Millisecond {
			t.Errorf("out of rotation after %v", d)
		}
		time.Sleep(10 * time.Millisecond)
		if n := tr.inFlight.Load(); warmStats(ss).Busy > 0 {
			t.Errorf("%d exchanges are in flight, %+v", n, warmStats(ss))
		}
		e.Restart()
		time.Sleep(2 * time.Second)
		for _, err := range tr.end() {
			if status.Code(err) != codes.Unavailable {
				t.Fatal(err)
			}
		}
		mustExchange(t, ss, "x")
	})
}

// The pool has dozed off when the enclave freezes; an exchange wakes it.
func TestAnExchangeAfterARestFindsAFrozenEnclaveSoon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, _, e := warm(t, nil, func(cfg *pool.Config) { cfg.Health.Interval = time.Hour })
		time.Sleep(time.Minute)
		e.Freeze()
		start := time.Now()
		_, err := ss.Exchange(t.Context(), "a", value("x"))
		poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable)
		if d := time.Since(start); d > 300*time.Millisecond {
			t.Errorf("found after %v", d)
		}
	})
}
