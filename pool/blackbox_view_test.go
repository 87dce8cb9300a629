package pool_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/routing"
)

func TestTheViewShowsEveryEnclaveAsItIs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, func(cfg *pool.Config) {
			cfg.MaxConcurrentStreams = 10
			cfg.Enclaves[0].Weight = 3
		})
		seq := uint64(0)
		see := func(when string, want routing.Member) {
			t.Helper()
			synctest.Wait()
			v := p.View()
			if v.Seq() <= seq {
				t.Errorf("%s: Seq %d after %d", when, v.Seq(), seq)
			}
			seq = v.Seq()
			if got := v.Members(); len(got) != 1 || got[0] != want {
				t.Errorf("%s:\n got %+v\nwant %+v", when, got, want)
			}
		}
		m := routing.Member{ID: "a", Weight: 3, Capacity: 20, Epoch: 1}
		see("ready", m)

		l := acquire(t, p, "a")
		m.InFlight = 1
		see("with a lease out", m)
		l.Release()
		m.InFlight = 0

		for range 2 {
			if err := p.Cordon("a"); err != nil {
				t.Fatal(err)
			}
		}
		m.Cordoned = true
		see("cordoned", m)

		e.Stop()
		lost := m
		lost.State, lost.Capacity = breaker.Degraded, 0
		see("lost", lost)
		e.Restart()
		ready(t, p)
		m.Epoch, m.Capacity = 2, 2
		see("back: still cordoned, in another epoch, at an eighth of its load", m)
		time.Sleep(time.Second)
		m.Capacity = 20
		see("after the ramp", m)

		e.DropConns(1)
		time.Sleep(time.Second)
		see("one connection replaced: the same epoch", m)

		if err := p.Uncordon("a"); err != nil {
			t.Fatal(err)
		}
		m.Cordoned = false
		see("no longer cordoned", m)

		if err := p.Drain(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		m.State, m.Capacity = breaker.Draining, 0
		see("drained", m)
	})
}

func TestCordonKnowsItsEnclavesAndEndsWithThePool(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, nil)
		for name, call := range map[string]func(string) error{"Cordon": p.Cordon, "Uncordon": p.Uncordon} {
			if err := call("nobody"); !errors.Is(err, pool.ErrUnknownEnclave) {
				t.Errorf("%s of an unknown enclave: %v", name, err)
			}
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.Cordon("a"); !errors.Is(err, pool.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}
