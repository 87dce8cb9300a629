package health_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/enclavepool/enclavepool/health"
)

func milliseconds(t *rapid.T, low, high int, label string) time.Duration {
	return time.Duration(rapid.IntRange(low, high).Draw(t, label)) * ms
}

func anyPolicy(t *rapid.T) health.Policy {
	p := health.Policy{
		Interval:         milliseconds(t, 10, 2000, "interval"),
		Timeout:          milliseconds(t, 5, 300, "timeout"),
		FailureThreshold: rapid.IntRange(1, 5).Draw(t, "threshold"),
		Cooldown:         milliseconds(t, 0, 1500, "cooldown"),
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	return p
}

// anyTimes returns a function that holds or not, over spans of any length.
func anyTimes(t *rapid.T, shortest, longest int, label string) func(time.Duration) bool {
	spans := rapid.SliceOfN(rapid.IntRange(shortest, longest), 1, 8).Draw(t, label)
	var period time.Duration
	for _, s := range spans {
		period += time.Duration(s) * ms
	}
	return func(at time.Duration) bool {
		at %= period
		for i, s := range spans {
			if at -= time.Duration(s) * ms; at < 0 {
				return i%2 == 1
			}
		}
		return false
	}
}

func anyCalls(t *rapid.T) func(time.Duration) int {
	busy := anyTimes(t, 1, 1500, "busy")
	return func(at time.Duration) int {
		if busy(at) {
			return 1
		}
		return 0
	}
}

func TestAnEnclaveThatAnswersInTimeIsNeverEjected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := world{policy: anyPolicy(t), calls: anyCalls(t), deaf: true, traffic: anyTimes(t, 1, 800, "traffic")}
		w.latency = always(milliseconds(t, 1, int(w.policy.Timeout/ms)-1, "latency"))
		serving := anyTimes(t, 1, 3000, "serving")
		w.answer = func(at time.Duration) health.Result {
			if serving(at) {
				return health.Unimplemented
			}
			return health.NotServing
		}
		if rapid.Bool().Draw(t, "no free stream at times") {
			w.blocked = anyTimes(t, 1, 500, "blocked")
		}
		w.run(20 * time.Second)
		for i, v := range w.verdicts {
			if v.what == health.Eject {
				t.Fatalf("ejected at %v; probes at %v", v.at, w.probes)
			}
			if i > 0 && (v.what == w.verdicts[i-1].what || v.at-w.verdicts[i-1].at < w.policy.Cooldown) {
				t.Fatalf("%v and then %v", w.verdicts[i-1], v)
			}
		}
	})
}

// A stall shorter than Timeout and 25ms may pass for the enclave's silence,
// once; longer ones are seen for what they are.
func TestStallsOfTheOwnerNeverEjectALiveEnclave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := world{policy: anyPolicy(t), calls: anyCalls(t), latency: always(2 * ms)}
		shortest := int(w.policy.Timeout/ms) + 27
		w.stalled = anyTimes(t, shortest, 3*shortest, "stalled")
		w.run(20 * time.Second)
		w.quiet(t)
	})
}

func TestADeadEnclaveIsAlwaysEjectedWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPolicy(t)
		freeze := milliseconds(t, 0, 5000, "freeze")
		busy := rapid.Bool().Draw(t, "calls in flight")
		before := anyCalls(t)
		w := world{policy: p, latency: always(2 * ms), frozen: span(freeze, never), traffic: anyTimes(t, 1, 800, "traffic"),
			calls: func(at time.Duration) int {
				switch {
				case at < freeze:
					return before(at)
				case busy:
					return 1
				}
				return 0
			}}
		w.run(30 * time.Second)
		n := time.Duration(p.FailureThreshold)
		probes := (n-1)*max(p.Timeout, 30*ms) + p.Timeout
		// With calls in flight the silence may have been doubled up to this;
		// the simulations hold it to 250ms where there was traffic before.
		first := p.Interval
		// A probe under way at the freeze may have seen a byte before it, and
		// so count for nothing; and no two probes begin within 30ms.
		bound := freeze + max(first, 2*ms, p.Timeout, min(30*ms, p.Interval)) + probes
		w.ejected(t, freeze, bound+4*ms)
	})
}
