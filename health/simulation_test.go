package health_test

import (
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/health"
)

// every returns a function that holds in one millisecond of each period.
func every(period time.Duration) func(time.Duration) bool {
	return func(at time.Duration) bool { return at%period == 0 }
}

func TestAnIdleConnectionIsProbedOncePerInterval(t *testing.T) {
	w := world{policy: health.DefaultPolicy()}
	w.run(time.Minute)
	w.quiet(t)
	if n := len(w.probes); n < 57 || n > 60 {
		t.Errorf("%d probes in a minute of silence, want about one a second", n)
	}
}

func TestTrafficSavesEveryProbe(t *testing.T) {
	w := world{policy: health.DefaultPolicy(), calls: always(3), traffic: every(70 * ms)}
	w.run(time.Minute)
	w.quiet(t)
	if len(w.probes) != 0 {
		t.Errorf("probes at %v, want none", w.probes)
	}
}

func TestACallThatIsSilentForLongIsAskedAboutEverMoreRarely(t *testing.T) {
	w := world{policy: health.DefaultPolicy(), calls: always(1)}
	w.run(5 * time.Second)
	w.quiet(t)
	// After 75, 150, 300 and 600ms of silence, and then every second.
	if n := len(w.probes); n < 6 || n > 10 {
		t.Errorf("%d probes in 5s of silence with a call in flight, want about 8", n)
	}
}

func TestAFrozenEnclaveUnderTrafficIsEjectedWithin250ms(t *testing.T) {
	for _, interval := range []time.Duration{10 * ms, time.Second, time.Hour} {
		for freeze := time.Second; freeze < time.Second+200*ms; freeze += ms {
			p := health.DefaultPolicy()
			p.Interval = interval
			w := world{policy: p, frozen: span(freeze, never), calls: always(5), traffic: every(10 * ms)}
			w.run(3 * time.Second)
			w.ejected(t, freeze, freeze+230*ms)
		}
	}
}

func TestTheFirstCallOnAnIdleFrozenConnectionIsFreedWithin250ms(t *testing.T) {
	for begin := 3 * time.Second; begin < 3*time.Second+100*ms; begin += ms {
		p := health.DefaultPolicy()
		p.Interval = time.Hour
		w := world{policy: p, frozen: span(0, never), calls: func(at time.Duration) int {
			if at >= begin {
				return 1
			}
			return 0
		}}
		w.run(10 * time.Second)
		w.ejected(t, begin, begin+230*ms)
	}
}

func TestAnIdleFrozenConnectionIsFoundAfterIntervalAndItsProbes(t *testing.T) {
	for freeze := time.Second; freeze < 3*time.Second; freeze += 13 * ms {
		w := world{policy: health.DefaultPolicy(), frozen: span(freeze, never)}
		w.run(10 * time.Second)
		w.ejected(t, freeze, freeze+time.Second+155*ms)
	}
}

func TestAFreezeOf100msEjectsNothing(t *testing.T) {
	for _, traffic := range []func(time.Duration) bool{nil, every(10 * ms), every(90 * ms)} {
		for begin := time.Second; begin < time.Second+200*ms; begin += ms {
			w := world{policy: health.DefaultPolicy(), calls: always(5), traffic: traffic,
				frozen: span(begin, begin+100*ms), deaf: true}
			w.run(4 * time.Second)
			w.quiet(t)
		}
	}
}

func TestAFreezeOf100msEveryHalfSecondEjectsNothing(t *testing.T) {
	w := world{policy: health.DefaultPolicy(), calls: always(1), deaf: true,
		frozen: func(at time.Duration) bool { return at%(500*ms) < 100*ms }}
	w.run(time.Minute)
	w.quiet(t)
}

// The enclave is well throughout; what it sent waits unread in the socket.
func TestAStallOfTheOwnerEjectsNothing(t *testing.T) {
	for _, threshold := range []int{1, 2, 3} {
		for _, length := range []time.Duration{80 * ms, 150 * ms, 500 * ms, 5 * time.Second} {
			for begin := time.Second; begin < time.Second+150*ms; begin += ms {
				p := health.DefaultPolicy()
				p.FailureThreshold = threshold
				w := world{policy: p, calls: always(5), latency: always(5 * ms), stalled: span(begin, begin+length)}
				w.run(begin + length + 2*time.Second)
				w.quiet(t)
			}
		}
	}
}

func TestAStallTooShortToTellCostsAtMostOneFailure(t *testing.T) {
	for length := ms; length < 80*ms; length += ms {
		for begin := time.Second; begin < time.Second+150*ms; begin += 3 * ms {
			p := health.DefaultPolicy()
			p.FailureThreshold = 2
			w := world{policy: p, calls: always(5), latency: always(5 * ms), stalled: span(begin, begin+length)}
			w.run(begin + time.Second)
			w.quiet(t)
		}
	}
}

func TestAnEnclaveFrozenDuringAStallIsEjectedAfterIt(t *testing.T) {
	w := world{policy: health.DefaultPolicy(), calls: always(5), traffic: every(10 * ms),
		stalled: span(time.Second, 2*time.Second), frozen: span(1100*ms, never)}
	w.run(4 * time.Second)
	w.ejected(t, 2*time.Second, 2300*ms)
}

func TestASlowEnclaveIsNotEjected(t *testing.T) {
	// Slower than Timeout, but its answers come through, late as they are; or
	// slow in its calls alone.
	for name, w := range map[string]*world{
		"late answers": {latency: always(80 * ms)},
		"slow calls":   {latency: always(10 * ms), traffic: every(5 * time.Second), deaf: true},
		"just in time": {latency: always(49 * ms), deaf: true},
	} {
		w.policy, w.calls = health.DefaultPolicy(), always(1)
		w.run(time.Minute)
		t.Run(name, func(t *testing.T) { w.quiet(t) })
	}
}

func TestProbesWithoutAFreeStreamEjectNothing(t *testing.T) {
	w := world{policy: health.DefaultPolicy(), calls: always(1), blocked: always(true)}
	w.run(time.Minute)
	w.quiet(t)
}

func TestAStatusThatFlapsChangesRotationAtMostOncePerCooldown(t *testing.T) {
	for _, period := range []time.Duration{100 * ms, time.Second, 1700 * ms} {
		for name, w := range map[string]*world{"idle": {}, "silent calls": {calls: always(1)}} {
			w.policy = health.DefaultPolicy()
			w.policy.Interval = 50 * ms
			w.answer = func(at time.Duration) health.Result {
				if at%(2*period) < period {
					return health.Serving
				}
				return health.NotServing
			}
			w.run(time.Minute)
			if len(w.verdicts) < 10 {
				t.Errorf("%s, flapping every %v: only %v", name, period, w.verdicts)
			}
			for i, v := range w.verdicts {
				if v.what != [2]health.Verdict{health.Suspend, health.Restore}[i%2] {
					t.Fatalf("%s: verdict %d of %v; want Suspend and Restore by turns", name, i, w.verdicts)
				}
				if i > 0 && v.at-w.verdicts[i-1].at < w.policy.Cooldown {
					t.Errorf("%s, flapping every %v: %v and then %v", name, period, w.verdicts[i-1], v)
				}
			}
		}
	}
}

func TestNotServingSuspendsAtOnceAndServingRestoresAfterTheCooldown(t *testing.T) {
	w := world{policy: health.DefaultPolicy(), answer: func(at time.Duration) health.Result {
		if at < 5500*ms {
			return health.NotServing
		}
		return health.Serving
	}}
	w.run(time.Minute)
	if len(w.verdicts) != 2 || w.verdicts[0].what != health.Suspend || w.verdicts[1].what != health.Restore {
		t.Fatalf("verdicts %v, want Suspend and Restore", w.verdicts)
	}
	if at := w.verdicts[0].at; at > 1010*ms {
		t.Errorf("suspended at %v, want at the first probe", at)
	}
	if at := w.verdicts[1].at; at < 5500*ms || at > 6550*ms {
		t.Errorf("restored at %v, want within a cooldown of 5.5s", at)
	}
}

func TestASuspendedConnectionThatFreezesIsEjected(t *testing.T) {
	w := world{policy: health.DefaultPolicy(), calls: always(1), answer: always(health.NotServing), frozen: span(3*time.Second, never)}
	w.run(10 * time.Second)
	if n := len(w.verdicts); n != 2 || w.verdicts[0].what != health.Suspend || w.verdicts[1].what != health.Eject ||
		w.verdicts[1].at > 4230*ms {
		t.Errorf("verdicts %v, want Suspend, and Eject by 4.23s", w.verdicts)
	}
}

func TestAnEnclaveThatAnswersErrorsIsEjectedAtItsOwnPace(t *testing.T) {
	// Traffic goes on; it does not make the answers any better.
	w := world{policy: health.DefaultPolicy(), answer: always(health.Failed),
		traffic: func(at time.Duration) bool { return at > 1100*ms && at%(10*ms) == 0 }}
	w.run(time.Minute)
	w.ejected(t, 3*time.Second, 3100*ms)
}

func TestAStatusThatKeepsFlappingRestsLongerEachTimeUntilItHasHeld(t *testing.T) {
	w := world{policy: health.DefaultPolicy()}
	w.policy.Interval = 20 * ms
	w.answer = func(at time.Duration) health.Result {
		if at < time.Minute && at%time.Second < 500*ms || at > 3*time.Minute && at < 3*time.Minute+100*ms {
			return health.NotServing
		}
		return health.Serving
	}
	w.run(4 * time.Minute)
	var rests []time.Duration
	for i := 1; i < len(w.verdicts); i += 2 {
		rests = append(rests, (w.verdicts[i].at - w.verdicts[i-1].at).Round(time.Second))
	}
	if len(rests) < 7 {
		t.Fatalf("rests of %v, want more of them", rests)
	}
	for i, rest := range rests[:len(rests)-1] {
		// It is asked when the rest is over, and a second later if that is the wrong moment.
		if want := time.Second << min(i, 3); rest < want || rest > want+time.Second {
			t.Errorf("rests of %v: number %d is not %v", rests, i, want)
		}
	}
	if last := rests[len(rests)-1]; last != time.Second {
		t.Errorf("after two good minutes it rested %v, want 1s", last)
	}
}
