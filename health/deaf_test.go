package health_test

import (
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/health"
)

func TestBytesThatAnswerNothingKeepNoConnectionForEver(t *testing.T) {
	for _, period := range []time.Duration{ms, 40 * ms, 74 * ms, 75 * ms, 76 * ms, 120 * ms, 900 * ms} {
		for name, calls := range map[string]func(time.Duration) int{
			"one call":           always(1),
			"calls that give up": func(at time.Duration) int { return int(at / (300 * ms) % 2) },
		} {
			w := world{policy: health.DefaultPolicy(), calls: calls, latency: always(never), drips: every(period)}
			w.run(time.Minute)
			if period == 900*ms && len(w.verdicts) == 1 {
				continue // silence alone has ejected it, long before
			}
			w.ejected(t, 2*time.Second, 6*time.Second)
			t.Logf("a byte every %v, %s: %v", period, name, w.verdicts)
		}
	}
}

func TestBytesThatAnswerNothingDoNoHarmWhereAProbeIsAnswered(t *testing.T) {
	// Slowly, but within an Interval: a call may take as long as it likes.
	w := world{policy: health.DefaultPolicy(), calls: always(1), latency: always(900 * ms), drips: every(40 * ms)}
	w.run(time.Minute)
	w.quiet(t)
	// 2s after the last answer the first probe, which fails, and then the one that is waited for.
	if n := len(w.probes); n < 20 || n > 60 {
		t.Errorf("%d probes in a minute", n)
	}
}

func TestAnAnswerToAnyCallIsAnAnswer(t *testing.T) {
	w := world{policy: health.DefaultPolicy(), calls: always(5), latency: always(never), drips: every(40 * ms), traffic: every(1900 * ms)}
	w.run(time.Minute)
	w.quiet(t)
	if len(w.probes) != 0 {
		t.Errorf("probes at %v, want none", w.probes)
	}
}

func TestAnIdleConnectionIsNotHeldToAnswers(t *testing.T) {
	w := world{policy: health.DefaultPolicy(), latency: always(never), drips: every(40 * ms)}
	w.run(time.Minute)
	w.quiet(t)
	if len(w.probes) != 0 {
		t.Errorf("probes at %v, want none", w.probes)
	}
}

func TestBytesThatNobodyHasReadAreNoAnswerEither(t *testing.T) {
	w := newWard(t, health.DefaultPolicy())
	w.inFlight, w.unread = 1, true
	began := w.now
	for v := health.Keep; v == health.Keep; {
		w.wait()
		if v = w.end(w.m.Timeout(), health.TimedOut); w.now.Sub(began) > 10*time.Second {
			t.Fatal("not ejected within 10s")
		}
	}
	if got := w.now.Sub(began); got < 4*time.Second {
		t.Errorf("ejected after %v: unread bytes excuse what is not answered within 2s", got)
	}
}
