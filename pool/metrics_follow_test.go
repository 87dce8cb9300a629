package pool_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc/codes"

	"github.com/enclavepool/enclavepool/pool"
)

// reading is what the metrics say of enclave "a" at one moment.
type reading struct {
	state                                          string
	conns, inFlight, capacity, waiters, turnedAway int64
}

// read collects once. That exactly one state is 1 is checked on the way.
func read(t *testing.T, collect func() map[string]metricdata.Aggregation) (r reading) {
	t.Helper()
	got := collect()
	gauge := func(name string) []metricdata.DataPoint[int64] {
		g, ok := got[name].(metricdata.Gauge[int64])
		if !ok {
			t.Fatalf("%s is %T; want a gauge", name, got[name])
		}
		return g.DataPoints
	}
	value := func(name string) int64 { return of(t, "a", gauge(name), number).Value }
	r.conns, r.inFlight = value("active_conns"), value("pool_in_flight")
	r.capacity, r.waiters = value("pool_capacity"), value("pool_waiters")
	sum, ok := got["pool_exhausted"].(metricdata.Sum[int64])
	if !ok || !sum.IsMonotonic {
		t.Fatalf("pool_exhausted is %T; want a monotonic sum", got["pool_exhausted"])
	}
	r.turnedAway = of(t, "a", sum.DataPoints, number).Value

	states := map[string]int64{}
	for _, d := range gauge("conn_pool_state") {
		state, _ := d.Attributes.Value("state")
		want := attribute.NewSet(attribute.String("enclave_id", "a"), attribute.String("state", state.AsString()))
		if !d.Attributes.Equals(&want) {
			t.Errorf("conn_pool_state has the labels %v", d.Attributes.ToSlice())
		}
		states[state.AsString()] = d.Value
		if d.Value == 1 {
			r.state += state.AsString()
		}
	}
	for _, s := range []string{"healthy", "degraded", "draining", "exhausted"} {
		if _, ok := states[s]; !ok {
			t.Errorf("conn_pool_state has no series for %s", s)
		}
	}
	if len(states) != 4 || states[r.state] != 1 {
		t.Errorf("conn_pool_state is %v; want one 1 among four", states)
	}
	return r
}

func TestTheMetricsFollowTheLoadUpAndDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		option, collect := meters(t)
		p, _ := memoryPool(t, &service{}, func(cfg *pool.Config) {
			cfg.MaxConcurrentStreams, cfg.MaxWaiters = 10, 3
		}, option)
		check := func(when string, want reading) {
			t.Helper()
			synctest.Wait()
			if got := read(t, collect); got != want {
				t.Errorf("%s: %+v, want %+v", when, got, want)
			}
		}
		check("idle", reading{state: "healthy", conns: 2, capacity: 20})

		release := leases(t, p, 15)
		time.Sleep(time.Second)
		check("with a quarter free", reading{state: "healthy", conns: 2, inFlight: 15, capacity: 20})
		more := leases(t, p, 25)
		check("with every slot taken and nobody waiting", reading{state: "healthy", conns: 4, inFlight: 40, capacity: 40})

		queued := make(chan *pool.Lease)
		for range 3 {
			go func() {
				l, err := p.Acquire(t.Context(), "a")
				if err != nil {
					t.Errorf("a queued caller got %v", err)
				}
				queued <- l
			}()
		}
		check("with a full queue", reading{state: "exhausted", conns: 4, inFlight: 40, capacity: 40, waiters: 3})
		for i := range int64(2) {
			_, err := p.Acquire(t.Context(), "a")
			poolError(t, err, "a", pool.ErrExhausted, codes.ResourceExhausted)
			check("with one turned away", reading{state: "exhausted", conns: 4, inFlight: 40, capacity: 40, waiters: 3, turnedAway: i + 1})
		}
		time.Sleep(time.Minute)
		check("a minute later", reading{state: "exhausted", conns: 4, inFlight: 40, capacity: 40, waiters: 3, turnedAway: 2})

		release()
		for range 3 {
			p.Release(<-queued)
		}
		check("with 15 slots free again, but not for a second yet", reading{state: "exhausted", conns: 4, inFlight: 25, capacity: 40, turnedAway: 2})
		time.Sleep(2 * time.Second)
		check("after that second", reading{state: "healthy", conns: 4, inFlight: 25, capacity: 40, turnedAway: 2})
		more()
		time.Sleep(time.Minute)
		check("a quiet minute later", reading{state: "healthy", conns: 2, capacity: 20, turnedAway: 2})
	})
}

func TestTheMetricsSayWhyAnEnclaveIsOutOfService(t *testing.T) {
	bubble(t, func(t *testing.T) {
		option, collect := meters(t)
		p, e := memoryPool(t, &service{}, func(cfg *pool.Config) { cfg.MaxConcurrentStreams = 10 }, option)
		check := func(when, state string, conns int64) {
			t.Helper()
			synctest.Wait()
			if got, want := read(t, collect), (reading{state: state, conns: conns, capacity: 10 * conns}); got != want {
				t.Errorf("%s: %+v, want %+v", when, got, want)
			}
		}
		for i := range 2 {
			check(fmt.Sprintf("round %d, ready", i), "healthy", 2)
			e.Stop()
			check("stopped", "degraded", 0)
			time.Sleep(time.Minute)
			check("stopped for a minute", "degraded", 0)
			e.Restart()
			ready(t, p)
			time.Sleep(time.Second) // its load comes back in steps
			check("restarted", "healthy", 2)

			if err := p.Drain(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			check("drained", "draining", 0)
			e.Stop()
			check("drained and stopped", "draining", 0)
			e.Restart()
			if err := p.Resume("a"); err != nil {
				t.Fatal(err)
			}
			ready(t, p)
			time.Sleep(time.Second)
		}
	})
}

// Full and lost at once is lost: that is what somebody has to see to.
func TestALossIsNotHiddenByExhaustion(t *testing.T) {
	bubble(t, func(t *testing.T) {
		option, collect := meters(t)
		p, e := memoryPool(t, &service{}, func(cfg *pool.Config) { single(cfg); cfg.MaxWaiters = 0 }, option)
		l := acquire(t, p, "a")
		_, err := p.Acquire(t.Context(), "a")
		poolError(t, err, "a", pool.ErrExhausted, codes.ResourceExhausted)
		if r := read(t, collect); r.state != "exhausted" {
			t.Errorf("full: %+v", r)
		}
		e.Stop()
		time.Sleep(time.Second)
		if r := read(t, collect); r.state != "degraded" || r.conns != 0 || r.turnedAway != 1 {
			t.Errorf("full and lost: %+v", r)
		}
		l.Release()
	})
}

// An alert for "fewer connections than configured" needs the configuration beside them.
func TestTheMetricsSayWhatIsConfigured(t *testing.T) {
	bubble(t, func(t *testing.T) {
		option, collect := meters(t)
		p, e := memoryPool(t, &service{}, nil, option)
		check := func(when string, least, most int64) {
			t.Helper()
			synctest.Wait()
			for name, want := range map[string]int64{"pool_min_conns": least, "pool_max_conns": most} {
				g, ok := collect()[name].(metricdata.Gauge[int64])
				if !ok {
					t.Fatalf("%s is %T; want a gauge", name, collect()[name])
				}
				if n := of(t, "a", g.DataPoints, number).Value; n != want {
					t.Errorf("%s: %s is %d, want %d", when, name, n, want)
				}
			}
		}
		if err := p.Resize("a", 3, 7); err != nil {
			t.Fatal(err)
		}
		check("resized", 3, 7)
		e.Stop()
		check("lost", 3, 7) // what is wanted, not what there is
	})
}
