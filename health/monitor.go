package health

import (
	"math"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
)

const (
	// detection is the longest that a connection with calls in flight may be
	// frozen before it is ejected, as far as the policy permits. 250ms is what
	// is promised; the difference is for timers and goroutines to get their turn.
	detection = 225 * time.Millisecond
	// Under traffic the first probe comes after a silence within these bounds.
	shortestSilence = 50 * time.Millisecond
	longestSilence  = 100 * time.Millisecond
	// pace is the least time from the begin of one probe to that of the next.
	pace = 30 * time.Millisecond
	// retryAnswered is the longest wait after a probe that was answered with an
	// error. Such an enclave is alive: three errors within a moment of overload
	// should not cost it all its connections, as three silences should.
	retryAnswered = time.Second
	// poll is how often the number of calls in flight is looked at while there
	// are any; the owner announces the first one with Quiet.
	poll = 25 * time.Millisecond
	// trailing is how long after a probe's answer bytes may arrive that still
	// belong to it.
	trailing = 5 * time.Millisecond
	// lateness is how much later than it asked for a Monitor may be called
	// before it takes this process to have stalled. A stalled process has not
	// read what the enclave sent, so it must not blame the enclave for silence.
	lateness = 25 * time.Millisecond
)

// Monitor decides when a connection is probed and what a probe's result means
// for it. The owner of the connection owns its Monitor, calls Step whenever the
// time has come and Finish for every probe, and does what they say.
//
// Three rules make it up:
//
// A byte from the enclave is proof of life. It saves the probe, and undoes
// whatever silence seemed to show before it.
//
// Silence is judged harder where an answer is due. A connection without calls
// is probed after Policy.Interval of silence. One with calls in flight is
// probed early enough for Policy.FailureThreshold unanswered probes to be over
// 225ms after the last byte, if the policy's numbers permit: after 75ms by
// default, never before 50ms nor later than 100ms. A probe that is not answered
// is followed by the next at once, but no sooner than 30ms after its own begin.
// One probe is out at a time, for there is one stream reserved for it. While
// the same calls go on in silence, each probe that is answered doubles the
// silence before the next, up to Interval: a slow call, or a stream that waits,
// need not be asked about thirteen times a second.
//
// What is not certain counts for nothing: a probe that was not sent, one whose
// timer fired late because this process had stalled, one during which bytes
// arrived, even such as this process has not found the time to read. A stall
// also takes back the silences counted before it.
//
// Times given to a Monitor must carry a monotonic reading, as those of time.Now
// do; only differences between them are used, so a step of the wall clock is
// not seen. A Monitor is not safe for concurrent use.
type Monitor struct {
	policy  Policy
	silence time.Duration // under traffic, before the first probe
	start   time.Time

	// Times, as durations since start.
	began   time.Duration // the last probe
	quiet   time.Duration // no call was in flight when last looked
	changed time.Duration // the last Suspend or Restore
	rested  time.Duration // not before then is it restored
	recheck time.Duration // a probe is due then, whatever arrives
	lead    time.Duration // by how much the first probe of an idle connection comes early
	wake    time.Duration // what Step last asked for

	cooldown  breaker.Cooldown // of being suspended
	probing   bool
	suspended bool
	ejected   bool
	silent    int           // probes in a row without a sign of life
	patience  uint          // doublings of the silence, for calls that are known to be slow
	inFlight  int           // when last looked
	ended     time.Duration // the last probe
	failed    int           // probes in a row answered with an error
}

const (
	never = time.Duration(math.MaxInt64)
	// eternity stands in for any longer setting, so that sums do not overflow.
	eternity = never / 4
)

// NewMonitor returns the Monitor of a connection that was admitted now, on the
// strength of a probe that has just been answered. p must be valid.
func NewMonitor(p Policy, now time.Time) *Monitor {
	p.Interval = min(p.Interval, eternity)
	p.Timeout = min(p.Timeout, eternity)
	p.Cooldown = min(p.Cooldown, eternity)
	return &Monitor{
		policy:   p,
		silence:  silence(p),
		start:    now,
		cooldown: breaker.Cooldown{Base: p.Cooldown},
		changed:  -p.Cooldown,
		recheck:  never,
		wake:     never,
	}
}

// silence returns how long a connection with calls in flight may be silent
// before it is probed: what detection leaves once the probes are taken off.
func silence(p Policy) time.Duration {
	n := time.Duration(min(p.FailureThreshold, 100)) // more leave nothing anyhow
	timeout := min(p.Timeout, detection)
	probes := (n-1)*max(timeout, pace) + timeout
	return min(max(detection-probes, shortestSilence), longestSilence)
}

// Step tells whether to send a probe now, and else when to call again at the
// latest; zero: not before Finish, or not at all any more. Calling it sooner
// does no harm: an owner of several connections steps them all at the same now,
// so that they ask for the same wake and cost it one. A connection without
// calls asks for no wake before its next probe is due, so the owner has to call
// Quiet and Step when calls begin.
//
// The probe has Policy.Timeout from now on. However it ends, Finish has to hear
// of it; until then no other probe is sent.
func (m *Monitor) Step(now time.Time, s Signs) (probe bool, wake time.Time) {
	if m.policy.Disabled || m.probing || m.ejected {
		return false, time.Time{}
	}
	at := now.Sub(m.start)
	heard := at - s.SinceRead
	// The first clause is about bytes that came after the last probe ended, too.
	if heard > m.began || m.wake != never && at-m.wake > lateness {
		m.silent = 0
	}
	if s.InFlight == 0 {
		m.quiet = at
	}
	if s.InFlight != m.inFlight || heard > m.ended+trailing {
		m.patience = 0 // there is more going on than one slow call
	}
	m.inFlight = s.InFlight
	due := m.due(at, heard, s)
	if at < due {
		if m.wake = due; s.InFlight > 0 {
			m.wake = min(due, at+poll<<m.patience)
		}
		return false, m.start.Add(m.wake)
	}
	m.probing, m.began, m.wake = true, at, never
	return true, time.Time{}
}

// Quiet says that until now no call has been in flight since the last Step
// that saw none. Without it a connection that has just got a call after a long
// rest would be probed at once, as if the call had waited all the time.
func (m *Monitor) Quiet(now time.Time) { m.quiet = now.Sub(m.start) }

// Stagger lets the first probe of an idle connection come early by share, from 0
// to 1, of Interval; those after it follow at Interval. Connections that were
// opened together and are given different shares are not all probed at once for
// the rest of their lives. Call it before Step.
func (m *Monitor) Stagger(share float64) {
	m.lead = time.Duration(share * float64(m.policy.Interval))
}

// due returns when the next probe is.
func (m *Monitor) due(at, heard time.Duration, s Signs) time.Duration {
	due := min(heard+m.policy.Interval-m.lead, m.recheck)
	switch {
	case m.silent > 0: // whether or not its calls have been given up since
		due = at
	case s.InFlight > 0:
		// A call may have begun at any time since none was seen; taking the
		// earliest keeps detection in bounds at the price of a few probes.
		due = min(due, max(heard, m.quiet)+m.silence<<m.patience)
	}
	return max(due, m.began+min(pace, m.policy.Interval))
}

// Recheck makes a probe due at once, whatever arrives on the connection. It is
// for an owner that heard NotServing on another connection to the same enclave:
// what one was told holds for all. A suspended connection knows already, and
// goes on resting.
func (m *Monitor) Recheck(now time.Time) {
	if !m.suspended {
		m.recheck = now.Sub(m.start)
	}
}

// Finish takes the result of the probe that Step asked for and returns what it
// means for the connection; Keep if Step asked for none. now is when the owner
// learnt of the result, s the signs at that time. Call Step next.
func (m *Monitor) Finish(now time.Time, r Result, s Signs) Verdict {
	if !m.probing {
		return Keep
	}
	m.probing, m.lead = false, 0
	at := now.Sub(m.start)
	m.ended = at
	switch r {
	case Serving, Unimplemented:
		return m.answered(now, true)
	case NotServing:
		return m.answered(now, false)
	case Failed:
		m.silent = 0
		m.failed++
		m.recheck = at + min(m.policy.Interval, retryAnswered)
	case TimedOut:
		if s.Unread || at-s.SinceRead > m.began || at-(m.began+m.policy.Timeout) > lateness {
			m.silent = 0
			return Keep
		}
		m.silent++
	case NotSent:
		// Whatever was due before is due still.
	}
	if m.failed+m.silent < m.policy.FailureThreshold {
		return Keep
	}
	m.ejected = true
	return Eject
}

// answered takes a healthy connection's word on whether it wants calls. One
// that changes its mind is believed once per Cooldown, and asked again when
// that has passed. Having said that it wants none it rests for as long, or
// longer if it keeps changing its mind.
func (m *Monitor) answered(now time.Time, serving bool) Verdict {
	at := now.Sub(m.start)
	m.silent, m.failed = 0, 0
	if m.silence<<m.patience < m.policy.Interval {
		m.patience++
	}
	verdict := Keep
	if serving == m.suspended { // it is not where it wants to be
		believed := m.changed + m.policy.Cooldown
		if m.suspended {
			believed = m.rested
		}
		if at < believed {
			m.recheck = believed
			return Keep
		}
		m.suspended, m.changed = !serving, at
		if m.suspended {
			verdict, m.rested = Suspend, at+m.cooldown.Trip(now)
		} else {
			verdict = Restore
			m.cooldown.Back(now)
		}
	}
	switch {
	case m.suspended && at < m.rested:
		m.recheck = m.rested
	case m.suspended:
		m.recheck = at + m.policy.Cooldown
	case m.recheck <= m.began: // this was the answer to it
		m.recheck = never
	}
	return verdict
}

// Rest makes a suspended connection rest until then at least. It is for an
// owner all of whose connections are suspended, for whom one cooldown holds.
func (m *Monitor) Rest(until time.Time) {
	if m.suspended {
		m.rested = max(m.rested, until.Sub(m.start))
		m.recheck = m.rested
	}
}
