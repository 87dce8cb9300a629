package pool_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
)

// logBuffer may be read while it is written to.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// leases takes n leases at once and returns what gives them all back.
func leases(t *testing.T, p *pool.Pool, n int) (release func()) {
	t.Helper()
	var held []*pool.Lease
	for range n {
		held = append(held, acquire(t, p, "a"))
	}
	return func() {
		for _, l := range held {
			l.Release()
		}
	}
}

func TestConnectionsFollowTheLoadUpAndDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, func(cfg *pool.Config) {
			cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 4, 16, 10
		})
		conns := func() int { synctest.Wait(); return stats(p, "a").HealthyConns }

		first := leases(t, p, 30) // three quarters of 40
		time.Sleep(time.Second)
		if n := conns(); n != 4 {
			t.Errorf("with a quarter free: %d connections, want 4", n)
		}
		second := leases(t, p, 2)
		for range 50 { // sooner or later one of them finds its connection rather full
			leases(t, p, 1)()
		}
		time.Sleep(time.Second)
		if n := conns(); n != 5 {
			t.Errorf("with less than a quarter free: %d connections, want one more, 5", n)
		}
		third := leases(t, p, 120-32)
		time.Sleep(time.Second)
		if n := conns(); n != 16 {
			t.Errorf("with 120 in flight: %d connections, want 16 (120 of 160 is three quarters)", n)
		}

		first()
		second()
		time.Sleep(10 * time.Minute)
		if n := conns(); n != 16 {
			t.Errorf("with 88 in flight: %d connections, want 16 (half of 15 would not do)", n)
		}
		third()
		time.Sleep(29 * time.Second)
		if n := conns(); n != 16 {
			t.Errorf("before the quiet period is over: %d connections, want 16", n)
		}
		time.Sleep(20 * time.Second)
		if n := conns(); n != 4 || e.Conns() != 4 {
			t.Errorf("after it: %d connections here, %d there; want the minimum, 4", n, e.Conns())
		}
		if s := stats(p, "a"); s.Exhausted != 0 || s.Reconnects != 0 || s.Dials != 16 {
			t.Errorf("%d exhausted, %d reconnects, %d dials; want 0, 0, 16", s.Exhausted, s.Reconnects, s.Dials)
		}
	})
}

// Calls that last keep their connections, and the idle ones leave, down to the minimum and no further.
func TestTheIdlestConnectionsLeaveFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		p, _ := memoryPool(t, svc, func(cfg *pool.Config) {
			cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams, cfg.RequestTimeout = 2, 8, 10, 0
		})
		for range 70 {
			_ = begun2(t, p)
		}
		time.Sleep(time.Second)
		if n := stats(p, "a").HealthyConns; n != 8 {
			t.Fatalf("%d connections with 70 in flight, want 8", n)
		}
		close(svc.hold)
		synctest.Wait()
		// Leases on the last two connections, so that no order of index explains who stays.
		onLast := func() (n int) {
			for _, c := range stats(p, "a").Connections {
				if c.Index >= 6 {
					n += c.InFlight
				}
			}
			return n
		}
		var busy, others []*pool.Lease
		for len(busy) < 4 {
			before := onLast()
			if l := acquire(t, p, "a"); onLast() > before {
				busy = append(busy, l)
			} else {
				others = append(others, l) // kept, so that the next is chosen elsewhere in the end
			}
		}
		for _, l := range others {
			l.Release()
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		s := stats(p, "a")
		held := 0
		for _, c := range s.Connections {
			held += c.InFlight
		}
		if len(s.Connections) != 2 || held != 4 {
			t.Errorf("%+v stayed; want two, with the 4 leases", s.Connections)
		}
		for _, l := range busy {
			l.Release()
		}
		time.Sleep(10 * time.Minute)
		if n := stats(p, "a").HealthyConns; n != 2 {
			t.Errorf("%d connections in the end, want the minimum of 2", n)
		}
	})
}

func TestABurstKeepsTheQuietPeriodFromEnding(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, func(cfg *pool.Config) {
			cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 1, 4, 10
		})
		for range 10 {
			release := leases(t, p, 35)
			time.Sleep(2 * time.Second)
			release()
			time.Sleep(20 * time.Second)
			synctest.Wait()
			if n := stats(p, "a").HealthyConns; n != 4 {
				t.Fatalf("%d connections 20s after a burst, want 4", n)
			}
		}
	})
}

func TestQueuedCallersAreServedByTheConnectionsTheyCauseToOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, func(cfg *pool.Config) {
			cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 1, 32, 1
		})
		defer leases(t, p, 32)() // one at a time; nobody ever releases
		if s := stats(p, "a"); s.HealthyConns != 32 || s.InFlight != 32 {
			t.Errorf("%d connections, %d in flight; want 32, 32", s.HealthyConns, s.InFlight)
		}
	})
}

func TestGrowthIsOneDecisionAtATimeHoweverManyAskForIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		p, e := memoryPool(t, svc, func(cfg *pool.Config) {
			cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 4, 32, 10
		})
		e.Freeze() // nothing can connect now
		for range 500 {
			_ = begun2(t, p)
		}
		time.Sleep(100 * time.Millisecond) // less than an attempt may take
		if s := stats(p, "a"); s.Dials != 4+1 {
			t.Errorf("500 callers caused %d dials before the first was through, want 1", s.Dials-4)
		}
		e.Thaw()
		close(svc.hold)
	})
}

// begun2 starts a call that may have to queue.
func begun2(t *testing.T, p *pool.Pool) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := client(p, "a").UnaryCall(within(t, patience), &grpc_testing.SimpleRequest{})
		done <- err
	}()
	return done
}

func TestOldConnectionsAreReplacedOneByOneAndNoCallNotices(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const age = time.Minute
		p, e := memoryPool(t, &service{}, func(cfg *pool.Config) {
			cfg.MinConns, cfg.MaxConns, cfg.MaxConnAge = 8, 8, age
		})
		fewest, most := 8, 8
		for range 1000 { // 10 minutes
			time.Sleep(600 * time.Millisecond)
			n := stats(p, "a").HealthyConns
			fewest, most = min(fewest, n), max(most, e.Conns())
			if _, err := client(p, "a").EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
				t.Fatal(err)
			}
		}
		s := stats(p, "a")
		if fewest != 8 || most > 9 {
			t.Errorf("between %d Healthy and %d open connections, want 8 and at most 9", fewest, most)
		}
		if replaced := s.Dials - 8; replaced < 8*9 || replaced > 8*12 {
			t.Errorf("%d connections replaced in ten times their age, want about 80", replaced)
		}
		for _, c := range s.Connections {
			if old := time.Since(c.OpenedAt); old > age+time.Second {
				t.Errorf("connection %d is %v old", c.Index, old)
			}
		}
		if s.Reconnects != 0 {
			t.Errorf("%d reconnects: nothing was lost", s.Reconnects)
		}
	})
}

func TestExhaustionIsLoggedOnceAndOverOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var out logBuffer
		p, _ := memoryPool(t, &service{}, single, pool.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
		count := func(text string) int { synctest.Wait(); return strings.Count(out.String(), text) }
		for range 50 {
			release := leases(t, p, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			if _, err := p.Acquire(ctx, "a"); err == nil {
				t.Fatal("a second slot was found")
			}
			cancel()
			release()
			time.Sleep(5 * time.Millisecond)
		}
		if n := count("pool exhausted"); n != 1 {
			t.Errorf("logged %d times that the pool is exhausted, want once:\n%s", n, out.String())
		}
		if n := count("no longer exhausted"); n != 0 {
			t.Errorf("it was over too soon:\n%s", out.String())
		}
		time.Sleep(2 * time.Second)
		if n := count("no longer exhausted"); n != 1 {
			t.Errorf("logged %d times that it is over, want once:\n%s", n, out.String())
		}
	})
}

func TestALeaseThatIsNeverReleasedIsFoundByItsCallSite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var out logBuffer
		p, _ := memoryPool(t, &service{}, nil, pool.WithLeaseTracking(), pool.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
		forgotten := forgetful(t, p)
		acquire(t, p, "a").Release()
		everyKindOfCall(t.Context(), t, client(p, "a"))
		synctest.Wait()
		s := stats(p, "a")
		if len(s.Leases) != 1 || !strings.Contains(s.Leases[0].Site, "forgetful") || s.Leases[0].Since.IsZero() {
			t.Fatalf("leases out: %+v, want the one of forgetful", s.Leases)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if log := out.String(); strings.Count(log, "lease has been out") != 1 || !strings.Contains(log, "forgetful") {
			t.Errorf("the log does not name the leak once:\n%s", log)
		}
		forgotten.Release()
		if s := stats(p, "a"); len(s.Leases) != 0 || s.InFlight != 0 {
			t.Errorf("after all: %+v", s.Leases)
		}
	})
}

func forgetful(t *testing.T, p *pool.Pool) *pool.Lease {
	l, err := p.Acquire(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
