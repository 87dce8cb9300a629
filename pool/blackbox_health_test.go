package pool_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
)

func TestAFrozenEnclaveUnderLoadLeavesRotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		p, e := memoryPool(t, svc, nil)
		calls := []<-chan error{begun(t, p.Conn("a")), begun(t, p.Conn("a"))}
		e.Freeze()
		start := time.Now()
		for i, c := range calls {
			if err := <-c; status.Code(err) != codes.Unavailable {
				t.Errorf("call %d on a frozen connection: %v; want Unavailable", i, err)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("call %d failed after %v", i, took)
			}
		}
		time.Sleep(2*time.Second - time.Since(start))
		s := stats(p, "a")
		if s.State != breaker.Degraded || s.HealthyConns != 0 || s.Ejections == 0 {
			t.Errorf("2s after the freeze: %v, %d Healthy, %d ejections", s.State, s.HealthyConns, s.Ejections)
		}
		e.Thaw()
		close(svc.hold)
		ready(t, p)
		everyKindOfCall(t.Context(), t, client(p, "a"))
	})
}

func TestAnIdleFrozenEnclaveIsFoundByItsProbes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, nil)
		time.Sleep(time.Minute)
		if s := stats(p, "a"); s.HealthyConns != 2 || s.Ejections != 0 || s.Dials != 2 {
			t.Fatalf("idle for a minute: %+v", s)
		}
		e.Freeze()
		time.Sleep(5 * time.Second) // interval, and three probes with room
		if s := stats(p, "a"); s.HealthyConns != 0 || s.Ejections != 2 {
			t.Errorf("%d Healthy, %d ejections; want 0, 2", s.HealthyConns, s.Ejections)
		}
	})
}

func TestAShortFreezeEjectsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, nil)
		for range 20 {
			e.Freeze()
			time.Sleep(100 * time.Millisecond)
			e.Thaw()
			time.Sleep(400 * time.Millisecond)
		}
		if s := stats(p, "a"); s.HealthyConns != 2 || s.Ejections != 0 || s.Dials != 2 {
			t.Errorf("%d Healthy, %d ejections, %d dials; want 2, 0, 2", s.HealthyConns, s.Ejections, s.Dials)
		}
	})
}

func TestAnEnclaveThatStopsServingLeavesRotationAndKeepsItsConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, nil)
		e.SetServing(false)
		time.Sleep(3 * time.Second)
		if s := stats(p, "a"); s.HealthyConns != 0 || s.State != breaker.Degraded || s.Conns != 2 || s.Dials != 2 {
			t.Errorf("%d Healthy, %v, %d connections, %d dials; want 0, degraded, 2, 2", s.HealthyConns, s.State, s.Conns, s.Dials)
		}
		_, err := client(p, "a").EmptyCall(t.Context(), &grpc_testing.Empty{})
		poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable)
		e.SetServing(true)
		start := time.Now()
		ready(t, p)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("back after %v", took)
		}
		synctest.Wait()
		everyKindOfCall(t.Context(), t, client(p, "a"))
	})
}

// A verdict of the probes stands for Cooldown. Then one connection at a time
// asks whether it still holds, and a question that hangs is over after its
// DialTimeout.
func TestAFrozenEnclaveIsTriedByOneConnectionAtATimeAndAHungTryExpires(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, func(cfg *pool.Config) { cfg.MinConns, cfg.MaxConns = 8, 8 })
		e.Freeze()
		for stats(p, "a").State == breaker.Healthy {
			time.Sleep(time.Millisecond)
		}
		before := stats(p, "a").Dials
		time.Sleep(900 * time.Millisecond)
		if n := stats(p, "a").Dials - before; n != 0 {
			t.Errorf("%d attempts within the cooldown", n)
		}
		time.Sleep(100 * time.Millisecond)
		before = stats(p, "a").Dials
		time.Sleep(3 * time.Second)
		// One after another, each 150 ms: at four at a time it would be 80.
		if n := stats(p, "a").Dials - before; n < 10 || n > 20 {
			t.Errorf("%d attempts in 3s; want one at a time, each 150ms", n)
		}
		e.Thaw()
		start := time.Now()
		ready(t, p)
		if took := time.Since(start); took > 400*time.Millisecond {
			t.Errorf("all connections back %v after the enclave", took)
		}
	})
}

func TestAConnectionThatIsEjectedAgainAndAgainRestsLongerEachTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, single)
		var rests []time.Duration
		for range 5 {
			e.Freeze()
			for stats(p, "a").State == breaker.Healthy {
				time.Sleep(time.Millisecond)
			}
			e.Thaw()
			start := time.Now()
			ready(t, p)
			rests = append(rests, time.Since(start).Round(time.Second))
		}
		want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second}
		if !slices.Equal(rests, want) {
			t.Errorf("rests of %v, want %v", rests, want)
		}
		time.Sleep(2 * time.Minute)
		e.Freeze()
		for stats(p, "a").State == breaker.Healthy {
			time.Sleep(time.Millisecond)
		}
		e.Thaw()
		start := time.Now()
		ready(t, p)
		if took := time.Since(start).Round(time.Second); took != time.Second {
			t.Errorf("after two good minutes it rested %v, want 1s", took)
		}
	})
}

// Fault 15, on a virtual clock: an enclave that changes its mind all the time
// changes its state once per cooldown at most, and more rarely as it goes on.
func TestAnEnclaveThatKeepsSayingNotServingRestsLongerEachTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, func(cfg *pool.Config) { cfg.MinConns, cfg.MaxConns = 8, 8 })
		time.Sleep(time.Minute)
		var changes []time.Time
		last := breaker.Healthy
		for from := time.Now(); time.Since(from) < 2*time.Minute; time.Sleep(5 * time.Millisecond) {
			// Not in step with the questions, a second apart, or they might all
			// come at the wrong moment.
			e.SetServing(time.Since(from)%(1300*time.Millisecond) >= 650*time.Millisecond)
			if s := stats(p, "a"); s.State != last {
				changes, last = append(changes, s.Since), s.State
			}
		}
		var rests []time.Duration
		for i := 1; i < len(changes); i++ {
			gap := changes[i].Sub(changes[i-1])
			if gap < time.Second {
				t.Errorf("change %d was only %v after the one before", i, gap)
			}
			if i%2 == 1 {
				rests = append(rests, gap)
			}
		}
		if len(rests) < 6 {
			t.Fatalf("it was out of rotation for %v, want more of that", rests)
		}
		for i, rest := range rests {
			if want := time.Second << min(i, 3); rest < want || rest > want+3*time.Second {
				t.Errorf("it was out of rotation for %v; number %d is not about %v", rests, i, want)
			}
		}
		e.SetServing(true)
		time.Sleep(2 * time.Minute)
		e.SetServing(false)
		for stats(p, "a").State == breaker.Healthy {
			time.Sleep(time.Millisecond)
		}
		e.SetServing(true)
		start := time.Now()
		if ready(t, p); time.Since(start).Round(10*time.Millisecond) != time.Second {
			t.Errorf("after two good minutes it rested %v, want 1s", time.Since(start))
		}
	})
}
