package pool

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/reconnect"
)

// place is where a connection belongs. Connections come and go; the place
// keeps the index and the schedule. It may have a connection and an attempt at
// once: the attempt is then to replace the connection.
type place struct {
	index    int
	conn     *conn // admitted
	attempt  *conn // not yet
	backoff  *reconnect.Backoff
	shunned  *reconnect.Backoff // after a rejected peer; nil: it was none
	next     time.Time          // not before then is the next attempt made
	cause    error              // why the last connection was lost or did not come about
	served   bool               // a connection has been admitted here before
	state    breaker.State
	rest     breaker.Cooldown
	released bool // its next attempt waits for no turn
	young    bool // the last connection here died young
	counted  bool // its attempt is one of those that starts bounds
	allowed  bool // its next attempt is one of the allowance
}

// addPlaces makes room for n more connections, at the lowest free indices.
func (k *keeper) addPlaces(n int, now time.Time) {
	for index := 0; n > 0; index++ {
		if index < len(k.places) && k.places[index].index == index {
			continue
		}
		p := &place{index: index, released: true, backoff: k.e.cfg.Load().reconnect.Backoff(), state: breaker.Degraded, rest: breaker.Cooldown{Base: k.e.cfg.Load().health.Cooldown}}
		p.next = now.Add(p.backoff.Next())
		k.places = slices.Insert(k.places, index, p)
		n--
	}
	k.e.wanted.Store(int32(len(k.places)))
}

// removePlaces gives up n places: those without a connection first, then
// those with the fewest streams in use. What is in flight on them finishes.
func (k *keeper) removePlaces(n int) {
	now := time.Now()
	for range min(n, len(k.places)) {
		idlest := slices.MinFunc(k.places, func(a, b *place) int { return a.busy() - b.busy() })
		k.places = slices.DeleteFunc(k.places, func(p *place) bool { return p == idlest })
		if idlest.attempt != nil {
			k.abandon(idlest)
		}
		if c := idlest.conn; c != nil {
			idlest.conn = nil
			k.leave(c)
			k.mark(idlest, breaker.Retired, nil, now)
			k.e.log.Debug("connection no longer needed", "conn", c.index)
		}
	}
	k.e.wanted.Store(int32(len(k.places)))
	k.lostLast(breaker.Lost, errResized, now)
	if k.e.pressed.Load() {
		k.sizing.lookAt = now // whoever was to be waited for may be gone
	}
	k.e.changed()
}

// errResized is the cause of an outage that a smaller size has brought about.
var errResized = errors.New("the connections that were left carry no calls")

// busy orders places by how much is lost without them.
func (p *place) busy() int {
	switch {
	case p.conn == nil:
		return -2
	case p.conn.suspended:
		return -1
	}
	used, _ := p.conn.slots.load()
	return int(used)
}

// admit opens a checked connection to callers. One that it replaces leaves
// only then.
func (k *keeper) admit(c *conn) {
	e, p := k.e, c.place
	now := time.Now()
	if !k.outage.since.IsZero() && e.status.Load().lost {
		k.startRamp(now) // before the first caller is let in
	}
	if !c.ready.Load() || !e.publish(c) {
		return // lost, draining or closed in between; that news is on its way
	}
	e.attempts[attemptConnected].Add(1)
	old := p.conn
	p.conn, p.attempt, k.failing = c, nil, false
	k.ended(p)
	c.watch(e.cfg.Load().health, now)
	p.next = time.Time{}
	k.setRetirement(c)
	cause := p.cause
	p.cause = nil
	switch {
	case old != nil && old.warned:
		k.leave(old)
		e.log.Debug("connection replaced before the enclave closes it", "conn", c.index, "cause", errText(old.why(nil)))
	case old != nil:
		p.backoff.Reset()
		k.leave(old)
		e.log.Debug("connection replaced at its age", "conn", c.index)
	case p.served:
		e.reconnects.Add(1)
		e.log.Info("connection back in rotation", "conn", c.index, "cause", errText(cause))
	default:
		e.log.Debug("connection healthy", "conn", c.index)
	}
	p.served, p.young, p.allowed = true, false, false
	p.rest.Back(now)
	k.trusted(p)
	k.mark(p, breaker.Admitted, nil, now)
	if !k.outage.since.IsZero() {
		k.recovered(c, breaker.Admitted, cause, now)
	}
	if e.pressed.Load() {
		k.sizing.lookAt = now
	}
	e.changed()
	e.serve()
}

// recovered ends a total loss: the rest need not wait for their turn any more.
// first is the connection that callers may use.
func (k *keeper) recovered(first *conn, sig breaker.Signal, cause error, now time.Time) {
	after := now.Sub(k.outage.since)
	k.outage = outage{}
	k.refusing.Back(now)
	for _, p := range k.places {
		if p.conn != nil {
			continue
		}
		if p.young && !k.allow(p, now) {
			continue // the enclave may be one that drops whatever it accepts
		}
		p.next, p.released = now, true
		if c := p.attempt; c != nil && !c.checking && c.startedAt.Before(first.startedAt) {
			k.abandon(p) // it began sooner and hangs: in the backlog of what is no more
		}
	}
	k.e.setOutage(nil)
	if k.e.status.Load().lost {
		k.e.log.Info("enclave recovered", "after", after, "cause", errText(cause))
		k.e.metrics.recovered(after)
	} else {
		k.e.log.Info("enclave connected", "after", after)
	}
	if sig == breaker.Admitted {
		k.e.anew()
	}
	k.signal(sig, nil, now)
}

// fail gives an attempt up and plans the next one.
func (k *keeper) fail(p *place, cause error, now time.Time) {
	index, dropped := p.index, p.attempt.closed.Load()
	cause = p.attempt.rejectedUs(cause)
	if !p.attempt.dialled() {
		k.letGo()
	}
	k.abandon(p)
	p.cause, p.released = cause, false
	if !k.outage.since.IsZero() {
		k.takeTurns()
	}
	var wait time.Duration
	switch {
	case errors.Is(cause, ErrPeerRejected):
		k.e.attempts[attemptRejected].Add(1)
		p.backoff.Next()
		k.failing, wait = true, k.shun(p, cause)
	case errors.Is(cause, context.DeadlineExceeded):
		k.e.attempts[attemptTimedOut].Add(1)
		k.failing, wait = true, p.backoff.Next()
	default:
		k.e.attempts[attemptFailed].Add(1)
		if !k.interrupted(p, dropped, now) {
			k.failing, wait = true, p.backoff.Next()
		}
	}
	p.next = now.Add(wait)
	k.e.log.Debug("connection attempt failed", "conn", index, "cause", errText(cause), "next", wait)
	if !k.outage.since.IsZero() {
		k.e.setCause(cause)
	}
	k.e.changed()
}

// abandon ends p's attempt.
func (k *keeper) abandon(p *place) {
	c := p.attempt
	p.attempt = nil
	k.ended(p)
	if c.giveUp != nil {
		c.giveUp()
	}
	c.cut() // first, or gRPC would wait for a peer that does not read
	if c.sub != nil {
		c.sub.Shutdown()
	}
}

// lose replaces an admitted connection that has gone.
func (k *keeper) lose(p *place, sig breaker.Signal, cause error, now time.Time) {
	c := p.conn
	p.conn, p.cause, p.released = nil, cause, false
	k.leave(c)
	wait := k.planRedial(p, c, sig, now)
	p.next = now.Add(wait)
	k.e.log.Warn("connection lost", "conn", p.index, "cause", errText(cause), "next", wait)
	k.mark(p, sig, cause, now)
	k.lostLast(sig, cause, now)
	k.e.changed()
}

// lostLast begins an outage if no connection is left that callers may use.
func (k *keeper) lostLast(sig breaker.Signal, cause error, now time.Time) {
	if len(*k.e.admitted.Load()) == 0 && k.outage.since.IsZero() && !k.held {
		k.outage = outage{since: now, verdict: sig == breaker.Ejected}
		k.signal(sig, cause, now)
		k.e.sendAway()
		k.e.log.Warn("enclave lost: no connection left", "cause", errText(cause))
	}
}

// leave closes a connection the polite way: nothing new is admitted, streams
// that are open finish, and gRPC closes it after the last. A lease that has its
// slot there moves with its next call.
func (k *keeper) leave(c *conn) {
	k.leaveThen(c, func() {})
}

// leaveThen is leave that says when gRPC has taken note. gRPC waits seconds for
// a peer that does not read, so nobody here waits for it; with nothing in
// flight, farewell is all that such a peer is given.
func (k *keeper) leaveThen(c *conn, then func()) {
	c.deny()
	k.e.withdraw(c)
	k.probes.Go(func() {
		defer then()
		if used, _ := c.slots.load(); used == 0 {
			// Even if Shutdown returns at once: gRPC may wait for streams that
			// a frozen peer never lets go of.
			time.AfterFunc(farewell, c.cut)
		}
		c.sub.Shutdown()
		c.release() // not sooner: it is gRPC that takes what is on its way elsewhere
	})
}

// farewell is how long a connection without calls has to close politely.
const farewell = 100 * time.Millisecond

// errText keeps nil errors out of logs.
func errText(err error) slog.Value {
	if err == nil {
		return slog.StringValue("")
	}
	return slog.StringValue(err.Error())
}

// without returns conns less c, as a new slice.
func without(conns []*conn, c *conn) []*conn {
	return slices.DeleteFunc(slices.Clone(conns), func(o *conn) bool { return o == c })
}
