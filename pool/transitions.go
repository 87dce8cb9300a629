package pool

import (
	"time"

	"github.com/enclavepool/enclavepool/breaker"
)

// enclaveStatus is a snapshot; it is replaced, never changed.
type enclaveStatus struct {
	state breaker.State
	since time.Time
	cause error
	lost  bool   // there was a connection once
	epoch uint64 // how often it has been connected to anew
}

// signal takes what happened to the enclave as a whole through the state
// machine, and publishes the change if it was one.
func (k *keeper) signal(sig breaker.Signal, cause error, now time.Time) {
	st := *k.e.status.Load()
	from := st.state
	st.state = breaker.Next(from, sig)
	st.cause, st.lost = cause, true
	if st.state != from {
		st.since = now
	}
	k.e.status.Store(&st)
	k.e.views.changes.Add(1)
	k.publish(-1, from, st.state, sig, cause, now)
}

// mark is signal for the connection of one place.
func (k *keeper) mark(p *place, sig breaker.Signal, cause error, now time.Time) {
	from := p.state
	p.state = breaker.Next(from, sig)
	k.publish(p.index, from, p.state, sig, cause, now)
}

// publish tells subscribers of a change. The keeper alone does, so that Seq
// grows in the order of what happened.
func (k *keeper) publish(conn int, from, to breaker.State, sig breaker.Signal, cause error, now time.Time) {
	if from == to || k.e.silent.Load() {
		return
	}
	k.e.events.publish(breaker.Event{
		EnclaveID: k.e.id, Conn: conn, Seq: k.e.seq.Add(1), From: from, To: to, Signal: sig, At: now, Cause: cause,
	})
}

// anew counts that the enclave was connected to when nothing was left of what
// had been: it may have been restarted in between.
func (e *enclave) anew() {
	st := *e.status.Load()
	st.epoch = e.epoch.Add(1)
	e.status.Store(&st)
}

// setCause keeps the latest reason why the enclave is not back.
func (e *enclave) setCause(cause error) {
	st := *e.status.Load()
	st.cause = cause
	e.status.Store(&st)
}
