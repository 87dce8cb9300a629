package health_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/health"
)

// ward leads one Monitor by hand: the connection is silent but for what the
// test says.
type ward struct {
	t        *testing.T
	m        *health.Monitor
	p        health.Policy
	now      time.Time
	read     time.Time // the last byte
	inFlight int
	unread   bool
}

func newWard(t *testing.T, p health.Policy) *ward {
	now := time.Now()
	return &ward{t: t, m: health.NewMonitor(p, now), p: p, now: now, read: now}
}

func (w *ward) signs() health.Signs {
	return health.Signs{SinceRead: w.now.Sub(w.read), InFlight: w.inFlight, Unread: w.unread}
}

// wait goes from wake to wake until a probe is due, and returns how long it took.
func (w *ward) wait() time.Duration {
	w.t.Helper()
	for since := w.now; ; {
		probe, wake := w.m.Step(w.now, w.signs())
		if probe {
			return w.now.Sub(since)
		}
		if !wake.After(w.now) || w.now.Sub(since) > time.Hour {
			w.t.Fatalf("no probe after %v; the next wake is %v from now", w.now.Sub(since), wake.Sub(w.now))
		}
		w.now = wake
	}
}

// end lets the probe take that long and finishes it.
func (w *ward) end(after time.Duration, r health.Result) health.Verdict {
	w.now = w.now.Add(after)
	if r != health.TimedOut && r != health.NotSent {
		w.read = w.now
	}
	return w.m.Finish(w.now, r, w.signs())
}

func TestProbesFollowEachOtherNoSoonerThanThePace(t *testing.T) {
	p := health.DefaultPolicy()
	p.Timeout = ms
	w := newWard(t, p)
	w.wait()
	w.end(ms, health.TimedOut)
	if got := w.wait(); got != 29*ms {
		t.Errorf("a probe of 1ms is followed by the next after %v, want 29ms", got)
	}
	p.Interval, p.Cooldown = 10*ms, 0
	w = newWard(t, p)
	w.wait()
	w.end(ms, health.NotServing)
	if got := w.wait(); got != 9*ms {
		t.Errorf("without a cooldown, the next probe is after %v, want 9ms: as often as the interval allows", got)
	}
}

func TestSilenceIsFollowedUpWhenTheCallsHaveBeenGivenUp(t *testing.T) {
	w := newWard(t, health.DefaultPolicy())
	w.inFlight = 1
	w.wait()
	w.inFlight = 0
	w.end(50*ms, health.TimedOut)
	if got := w.wait(); got != 0 {
		t.Errorf("next probe after %v, want at once", got)
	}
}

func TestALateProbeTakesBackTheSilencesBeforeIt(t *testing.T) {
	w := newWard(t, health.DefaultPolicy())
	situations["two silences"](w)
	w.end(500*ms, health.TimedOut)
	for _, want := range []health.Verdict{health.Keep, health.Keep, health.Eject} {
		w.wait()
		if v := w.end(50*ms, health.TimedOut); v != want {
			t.Fatalf("a silence after the stall: %v, want %v", v, want)
		}
	}
}

func TestBytesThatAreThereUnreadTakeBackTheSilencesBeforeThem(t *testing.T) {
	w := newWard(t, health.DefaultPolicy())
	situations["two silences"](w)
	w.unread = true
	w.end(50*ms, health.TimedOut)
	w.unread = false
	for _, want := range []health.Verdict{health.Keep, health.Keep, health.Eject} {
		w.wait()
		if v := w.end(50*ms, health.TimedOut); v != want {
			t.Fatalf("a silence after it: %v, want %v", v, want)
		}
	}
}

func TestAGoodAnswerTakesBackTheErrorsBeforeIt(t *testing.T) {
	for _, good := range []health.Result{health.Serving, health.Unimplemented, health.NotServing} {
		w := newWard(t, health.DefaultPolicy())
		situations["two errors"](w)
		w.end(ms, good)
		w.wait()
		if v := w.end(ms, health.Failed); v != health.Keep {
			t.Errorf("an error after %v: %v, want keep", good, v)
		}
	}
}

func TestAnAnswerThatComesTooSoonToChangeAnythingIsAskedForAgain(t *testing.T) {
	for situation, r := range map[string]health.Result{"just suspended": health.Serving, "just restored": health.NotServing} {
		w := newWard(t, health.DefaultPolicy())
		situations[situation](w)
		began := w.now
		if v := w.end(ms, r); v != health.Keep {
			t.Fatalf("%s, %v: %v, want keep", situation, r, v)
		}
		for probe := false; !probe; w.now = w.now.Add(5 * ms) {
			w.read = w.now // there is traffic
			probe, _ = w.m.Step(w.now, w.signs())
			if w.now.Sub(began) > 2*time.Second {
				t.Fatalf("%s, %v: not asked again for 2s", situation, r)
			}
		}
		if v := w.end(ms, r); v == health.Keep {
			t.Errorf("%s, %v again after the cooldown: keep", situation, r)
		}
	}
}

func TestOneProbeIsOutAtATime(t *testing.T) {
	w := newWard(t, health.DefaultPolicy())
	w.inFlight = 1
	w.wait()
	for range 100 {
		w.now = w.now.Add(10 * ms)
		if probe, wake := w.m.Step(w.now, w.signs()); probe || !wake.IsZero() {
			t.Fatalf("Step during a probe = %v, %v; want false and no wake", probe, wake)
		}
	}
	if v := w.end(0, health.TimedOut); v != health.Keep {
		t.Errorf("a second late: %v, want keep", v)
	}
	if got := w.wait(); got != 0 {
		t.Errorf("next probe after %v, want at once", got)
	}
}

func TestAThresholdOfOneEjectsAtTheFirstFailure(t *testing.T) {
	p := health.DefaultPolicy()
	p.FailureThreshold = 1
	for _, e := range []ending{endings[3], endings[4]} {
		w := newWard(t, p)
		w.wait()
		if v := w.end(e.after, e.result); v != health.Eject {
			t.Errorf("%s: %v, want eject", e.name, v)
		}
	}
}

func TestAnEjectionIsTheLastWord(t *testing.T) {
	p := health.DefaultPolicy()
	p.FailureThreshold = 1
	w := newWard(t, p)
	w.wait()
	w.end(50*ms, health.TimedOut)
	w.now = w.now.Add(time.Hour)
	if probe, wake := w.m.Step(w.now, w.signs()); probe || !wake.IsZero() {
		t.Errorf("Step = %v, %v; want nothing", probe, wake)
	}
	if v := w.end(0, health.Serving); v != health.Keep {
		t.Errorf("a further result: %v, want keep", v)
	}
}

func TestAResultNobodyAskedForIsIgnored(t *testing.T) {
	p := health.DefaultPolicy()
	p.FailureThreshold = 1
	w := newWard(t, p)
	if v := w.end(0, health.Failed); v != health.Keep {
		t.Errorf("verdict %v, want keep", v)
	}
}

func TestABytesArrivalUndoesTheSilencesBeforeIt(t *testing.T) {
	w := newWard(t, health.DefaultPolicy())
	situations["two silences"](w)
	w.end(50*ms, health.NotSent)
	w.now = w.now.Add(ms)
	w.read = w.now
	if got := w.wait(); got != time.Second {
		t.Errorf("next probe after %v, want after an interval of silence", got)
	}
	if v := w.end(50*ms, health.TimedOut); v != health.Keep {
		t.Errorf("the first silence after a byte: %v, want keep", v)
	}
}

func TestAStallBetweenTwoProbesTakesBackTheSilences(t *testing.T) {
	for late, want := range map[time.Duration]health.Verdict{25 * ms: health.Eject, 26 * ms: health.Keep} {
		p := health.DefaultPolicy()
		p.Timeout, p.FailureThreshold = 10*ms, 2
		w := newWard(t, p)
		w.wait()
		w.end(10*ms, health.TimedOut)
		_, wake := w.m.Step(w.now, w.signs())
		w.now = wake.Add(late)
		w.inFlight = 1
		w.wait()
		if v := w.end(10*ms, health.TimedOut); v != want {
			t.Errorf("%v late: %v, want %v", late, v, want)
		}
	}
}

func TestRecheckMakesAProbeDueWhateverIsRead(t *testing.T) {
	w := newWard(t, health.DefaultPolicy())
	w.now = w.now.Add(100 * ms)
	w.read = w.now
	w.m.Recheck(w.now)
	if got := w.wait(); got != 0 {
		t.Fatalf("probe after %v, want at once", got)
	}
	w.end(50*ms, health.NotSent)
	if got := w.wait(); got != 0 {
		t.Fatalf("it was not sent, and the next is after %v; want at once", got)
	}
	w.m.Recheck(w.now.Add(ms)) // may have happened after the answer was made
	w.end(2*ms, health.Serving)
	if got := w.wait(); got != 28*ms {
		t.Fatalf("asked again during the probe, and the next is after %v; want as soon as the pace allows", got)
	}
	w.end(ms, health.NotServing)
	w.m.Recheck(w.now)
	if got := w.wait(); got != time.Second {
		t.Errorf("suspended, and the next probe is after %v; want the cooldown", got)
	}
}

func TestADisabledPolicyNeverProbes(t *testing.T) {
	m := health.NewMonitor(health.Policy{Disabled: true}, time.Now())
	if probe, wake := m.Step(time.Now().Add(time.Hour), health.Signs{SinceRead: time.Hour, InFlight: 1}); probe || !wake.IsZero() {
		t.Errorf("Step = %v, %v; want nothing", probe, wake)
	}
}

func TestSettingsBeyondAnyLifetimeAreNoTrouble(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 1000, math.MaxInt} {
		p := health.Policy{Interval: math.MaxInt64, Timeout: math.MaxInt64, FailureThreshold: n, Cooldown: math.MaxInt64}
		w := newWard(t, p)
		if probe, wake := w.m.Step(w.now, w.signs()); probe || !wake.After(w.now) {
			t.Fatalf("Step = %v, %v; want no probe, and a later wake", probe, wake)
		}
		w.now = w.now.Add(time.Hour)
		if probe, _ := w.m.Step(w.now, w.signs()); probe {
			t.Fatal("an idle connection was probed within the interval")
		}
		w.inFlight = 1
		if got := w.wait(); got != 50*ms {
			t.Errorf("with a call in flight, the probe was after %v; want 50ms", got)
		}
		if v := w.end(ms, health.NotServing); v != health.Suspend {
			t.Errorf("%v, want suspend: nothing was changed before", v)
		}
	}
}

func TestResultsAndVerdictsHaveNames(t *testing.T) {
	got := fmt.Sprint(health.Serving, health.NotServing, health.Unimplemented, health.Failed, health.TimedOut, health.NotSent,
		health.Result(9), health.Keep, health.Suspend, health.Restore, health.Eject, health.Verdict(9))
	want := "serving not serving unimplemented failed timed out not sent result(9) keep suspend restore eject verdict(9)"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestASuspendedConnectionRestsAsLongAsItsOwnerSays(t *testing.T) {
	w := newWard(t, health.DefaultPolicy())
	w.m.Rest(w.now.Add(time.Hour)) // it is not suspended
	if got := w.wait(); got != time.Second {
		t.Fatalf("the first probe is after %v, want the interval", got)
	}
	if v := w.end(ms, health.NotServing); v != health.Suspend {
		t.Fatalf("%v, want suspend", v)
	}
	w.m.Rest(w.now.Add(500 * ms)) // less than it rests anyway
	w.read = w.now.Add(time.Hour) // there is traffic
	if got := w.wait(); got != time.Second {
		t.Errorf("the next probe is after %v, want the cooldown", got)
	}
	w.m.Rest(w.now.Add(3 * time.Second))
	if v := w.end(0, health.Serving); v != health.Keep {
		t.Errorf("%v while it rests, want keep", v)
	}
	w.read = w.now.Add(time.Hour)
	if got := w.wait(); got != 3*time.Second {
		t.Errorf("the next probe is after %v, want the end of the rest", got)
	}
	if v := w.end(ms, health.Serving); v != health.Restore {
		t.Errorf("%v after it, want restore", v)
	}
}

func TestAStaggeredConnectionIsProbedEarlyOnceAndAtTheIntervalAfter(t *testing.T) {
	start := time.Now()
	p := health.DefaultPolicy()
	m := health.NewMonitor(p, start)
	m.Stagger(0.75)
	silent := func(at time.Duration) health.Signs { return health.Signs{SinceRead: at} }
	probe, wake := m.Step(start, silent(0))
	if want := start.Add(p.Interval / 4); probe || !wake.Equal(want) {
		t.Fatalf("wake after %v, want %v", wake.Sub(start), p.Interval/4)
	}
	at := p.Interval / 4
	if probe, _ = m.Step(start.Add(at), silent(at)); !probe {
		t.Fatal("no probe when it was due")
	}
	m.Finish(start.Add(at), health.Serving, silent(0)) // its answer has just been read
	if _, wake = m.Step(start.Add(at), silent(0)); !wake.Equal(start.Add(at + p.Interval)) {
		t.Errorf("the next after %v, want the whole interval", wake.Sub(start.Add(at)))
	}
}
