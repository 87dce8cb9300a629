package pool

import (
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/health"
)

// Two connections are suspended 900 ms apart. The first must not bring the
// enclave back 100 ms after the second has taken it out.
func TestAnEnclaveRestsFromItsLastSuspensionOn(t *testing.T) {
	e := newBareEnclave(1, 1)
	s := *e.cfg.Load()
	s.health = health.DefaultPolicy()
	s.health.Interval = time.Hour // nothing else asks
	e.cfg.Store(&s)
	k := e.keeper
	start := time.Now()
	for i, c := range *e.admitted.Load() {
		c.monitor = health.NewMonitor(s.health, start)
		k.places = append(k.places, &place{index: i, conn: c})
	}
	suspend := func(c *conn, at time.Time) {
		t.Helper()
		c.monitor.Recheck(at)
		if probe, _ := c.monitor.Step(at, health.Signs{}); !probe {
			t.Fatal("not asked")
		}
		if v := c.monitor.Finish(at, health.NotServing, health.Signs{}); v != health.Suspend {
			t.Fatalf("%v, want suspend", v)
		}
		e.withdraw(c)
		k.restAll(at)
	}
	a, b := k.places[0].conn, k.places[1].conn
	first := start.Add(time.Second)
	second := first.Add(900 * time.Millisecond)
	suspend(a, first)
	if _, wake := a.monitor.Step(first, health.Signs{}); wake != first.Add(time.Second) {
		t.Errorf("while the other lives the first rests for %v, want its own second", wake.Sub(first))
	}
	suspend(b, second)
	for _, c := range []*conn{a, b} {
		if _, wake := c.monitor.Step(second, health.Signs{}); wake != second.Add(time.Second) {
			t.Errorf("connection %d rests for %v after the second suspension, want 1s", c.index, wake.Sub(second))
		}
	}
}
