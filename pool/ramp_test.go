package pool_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// The steps are those of ramp.go.
func TestAnEnclaveThatIsBackGetsItsLoadInSteps(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, func(cfg *pool.Config) {
			cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 4, 4, 80
		})
		capacity := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if got := stats(p, "a").Capacity; got != want {
				t.Errorf("%s: capacity %d, want %d", when, got, want)
			}
		}
		capacity("the first time there is nobody to be spared", 320)
		for range 2 {
			e.Stop()
			time.Sleep(time.Second)
			e.Restart()
			ready(t, p)
			for _, want := range []int{40, 80, 160, 320} {
				capacity("back", want)
				time.Sleep(100 * time.Millisecond)
			}
		}
		time.Sleep(time.Minute)
		capacity("a minute later", 320)
	})
}

func TestCallersThatTheRampKeepsBackAreServedInOrderAndCountAsNoExhaustion(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, func(cfg *pool.Config) {
			cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 2, 8, 16
		})
		e.Stop()
		synctest.Wait()
		leased := make(chan *pool.Lease, 32)
		for range 32 {
			go func() {
				l, err := p.Acquire(t.Context(), "a")
				if err != nil {
					t.Error(err)
				}
				leased <- l
			}()
		}
		synctest.Wait()
		e.Restart()
		ready(t, p)
		synctest.Wait()
		if s := stats(p, "a"); s.InFlight != 4 || s.Waiters != 28 || s.HealthyConns != 2 {
			t.Errorf("at first %d in flight, %d waiters on %d connections; want 4, 28, 2", s.InFlight, s.Waiters, s.HealthyConns)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if s := stats(p, "a"); s.InFlight != 32 || s.Waiters != 0 || s.Exhausted != 0 {
			t.Errorf("a second later %d in flight, %d waiters, %d exhausted; want 32, 0, 0", s.InFlight, s.Waiters, s.Exhausted)
		}
		for range 32 {
			p.Release(<-leased)
		}
	})
}
