package health_test

import (
	"fmt"
	"time"

	"github.com/enclavepool/enclavepool/health"
)

const (
	ms    = time.Millisecond
	never = time.Hour * 24 * 365
)

// world is one connection in virtual time: an enclave that may be frozen or
// slow, a socket between, and an owner whose process may stall. It moves in
// steps of a millisecond. Where two things fall into one step they come in the
// order that is worst for the enclave: timers before reads.
type world struct {
	policy health.Policy
	// What happens when; nil: not at all. Durations are since the beginning.
	frozen  func(at time.Duration) bool          // the enclave does nothing
	stalled func(at time.Duration) bool          // the owner does nothing
	latency func(at time.Duration) time.Duration // of the answer to a probe sent now
	deaf    bool                                 // a probe that timed out is not answered any more
	calls   func(at time.Duration) int           // in flight
	traffic func(at time.Duration) bool          // the enclave answers some call
	drips   func(at time.Duration) bool          // the enclave sends a byte that answers nothing
	answer  func(at time.Duration) health.Result // what a probe is told
	blocked func(at time.Duration) bool          // no stream is free for a probe

	probes   []time.Duration // when each was sent
	verdicts []verdict       // but for Keep
}

type verdict struct {
	at   time.Duration
	what health.Verdict
}

func (v verdict) String() string { return fmt.Sprintf("%v at %v", v.what, v.at) }

// request is a probe on its way through the enclave.
type request struct {
	id   int
	work time.Duration // until it is answered
}

func holds(f func(time.Duration) bool, at time.Duration) bool { return f != nil && f(at) }

func span(from, until time.Duration) func(time.Duration) bool {
	return func(at time.Duration) bool { return at >= from && at < until }
}

func always[T any](v T) func(time.Duration) T { return func(time.Duration) T { return v } }

// run lets the world turn until the end, or until the connection is ejected.
func (w *world) run(end time.Duration) {
	var (
		start    = time.Now()
		m        = health.NewMonitor(w.policy, start)
		lastRead time.Duration
		wake     time.Duration // the owner's timer
		id       int           // of the last probe
		out      bool          // that one is under way
		sent     bool          // and reached the connection
		enclave  []request     // what the enclave works at
		socket   bool          // bytes wait to be read
		answered bool          // and among them is an answer to a call
		heard    bool          // one has been read that the monitor has not been told of
		timeout  time.Duration // of the probe
		answers  = map[int]health.Result{}
		signs    health.Signs
		wasBusy  bool
	)
	finish := func(at time.Duration, r health.Result) bool {
		out, wake = false, at
		if v := m.Finish(start.Add(at), r, signs); v != health.Keep {
			w.verdicts = append(w.verdicts, verdict{at, v})
			return v == health.Eject
		}
		return false
	}
	for at := time.Duration(0); at < end; at += ms {
		if !holds(w.frozen, at) {
			if holds(w.traffic, at) {
				socket, answered = true, true
			}
			socket = socket || holds(w.drips, at)
			rest := enclave[:0]
			for _, r := range enclave {
				if r.work -= ms; r.work > 0 {
					rest = append(rest, r)
					continue
				}
				socket = true
				answers[r.id] = health.Serving
				if w.answer != nil {
					answers[r.id] = w.answer(at)
				}
			}
			enclave = rest
		}
		if holds(w.stalled, at) {
			continue
		}
		signs = health.Signs{SinceRead: at - lastRead}
		if w.calls != nil {
			signs.InFlight = w.calls(at)
		}
		if out && at >= w.probes[len(w.probes)-1]+timeout {
			r := health.NotSent
			if sent {
				r = health.TimedOut
			}
			if w.deaf {
				enclave = nil
			}
			if finish(at, r) {
				return
			}
		}
		if socket {
			socket, lastRead, signs.SinceRead = false, at, 0
			heard, answered = heard || answered, false
		}
		signs.Answered = heard
		if r, ok := answers[id]; ok && out {
			delete(answers, id)
			if finish(at, r) {
				return
			}
		}
		if busy := signs.InFlight > 0; busy != wasBusy {
			wasBusy = busy
			if busy { // the owner is told of the first call
				m.Quiet(start.Add(at))
				wake = min(wake, at)
			}
		}
		if at < wake {
			continue
		}
		probe, next := m.Step(start.Add(at), signs)
		heard = false
		wake = never
		if !next.IsZero() {
			wake = next.Sub(start)
		}
		if probe {
			id++
			out, timeout = true, m.Timeout()
			w.probes = append(w.probes, at)
			if sent = !holds(w.blocked, at); sent {
				work := ms
				if w.latency != nil {
					work = w.latency(at)
				}
				enclave = append(enclave, request{id, work})
			}
		}
	}
}

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// quiet fails the test if the connection was touched.
func (w *world) quiet(t failer) {
	t.Helper()
	if len(w.verdicts) != 0 {
		t.Errorf("verdicts %v after probes at %v; want none", w.verdicts, w.probes)
	}
}

// ejected fails the test unless the one verdict is an ejection within the time.
func (w *world) ejected(t failer, after, within time.Duration) {
	t.Helper()
	if len(w.verdicts) != 1 || w.verdicts[0].what != health.Eject ||
		w.verdicts[0].at <= after || w.verdicts[0].at > within {
		t.Fatalf("verdicts %v after probes at %v; want one ejection after %v and by %v", w.verdicts, w.probes, after, within)
	}
}
