package pool

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/enclavepool/enclavepool/health"
	"github.com/enclavepool/enclavepool/reconnect"
)

// place is where a connection belongs. Connections come and go; the place
// keeps the index and the schedule. It may have a connection and an attempt at
// once: the attempt is then to replace the connection.
type place struct {
	index   int
	conn    *conn // admitted
	attempt *conn // not yet
	backoff *reconnect.Backoff
	next    time.Time // not before then is the next attempt made
	cause   error     // why the last connection was lost or did not come about
	served  bool      // a connection has been admitted here before
	failed  bool      // the last attempt has failed
}

// addPlaces makes room for n more connections, at the lowest free indices.
func (k *keeper) addPlaces(n int, now time.Time) {
	for index := 0; n > 0; index++ {
		if index < len(k.places) && k.places[index].index == index {
			continue
		}
		p := &place{index: index, backoff: k.e.cfg.reconnect.Backoff()}
		p.next = now.Add(p.backoff.Next())
		k.places = slices.Insert(k.places, index, p)
		n--
	}
	k.e.wanted.Store(int32(len(k.places)))
}

// removePlaces gives up n places: those without a connection first, then
// those with the fewest streams in use. What is in flight on them finishes.
func (k *keeper) removePlaces(n int) {
	for range min(n, len(k.places)) {
		idlest := slices.MinFunc(k.places, func(a, b *place) int { return a.busy() - b.busy() })
		k.places = slices.DeleteFunc(k.places, func(p *place) bool { return p == idlest })
		if idlest.attempt != nil {
			k.abandon(idlest)
		}
		if c := idlest.conn; c != nil {
			idlest.conn = nil
			k.leave(c)
			k.e.log.Debug("connection no longer needed", "conn", c.index)
		}
	}
	k.e.wanted.Store(int32(len(k.places)))
	now := time.Now()
	k.lostLast(errResized, now)
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
	if !c.ready.Load() || !e.publish(c) {
		return // lost, draining or closed in between; that news is on its way
	}
	now := time.Now()
	old := p.conn
	p.conn, p.attempt, p.failed = c, nil, false
	c.monitor = health.NewMonitor(e.cfg.health, now)
	p.next = time.Time{}
	if age := e.cfg.maxConnAge; age > 0 {
		// Up to a tenth earlier, so that those opened together part ways.
		c.retireAt = now.Add(age - time.Duration(rand.Int64N(int64(age)/10+1)))
	}
	cause := p.cause
	p.cause = nil
	switch {
	case old != nil:
		p.backoff.Reset()
		k.leave(old)
		e.log.Debug("connection replaced at its age", "conn", c.index)
	case p.served:
		e.reconnects.Add(1)
		e.log.Debug("connection healthy again", "conn", c.index)
	default:
		e.log.Debug("connection healthy", "conn", c.index)
	}
	p.served = true
	if !k.outage.since.IsZero() {
		k.recovered(now, cause)
	}
	if e.pressed.Load() {
		k.sizing.lookAt = now
	}
	e.changed()
	e.serve()
}

// recovered ends a total loss: the rest need not wait for their turn any more.
func (k *keeper) recovered(now time.Time, cause error) {
	after := now.Sub(k.outage.since)
	k.outage = outage{}
	for _, p := range k.places {
		if p.conn == nil {
			p.next, p.failed = now, false
		}
	}
	k.e.setOutage(nil)
	if k.e.status.Load().lost {
		k.e.log.Info("enclave recovered", "after", after, "cause", errText(cause))
	} else {
		k.e.log.Info("enclave connected", "after", after)
	}
	k.e.setHealthy(now)
}

// fail gives an attempt up and plans the next one.
func (k *keeper) fail(p *place, cause error, now time.Time) {
	index := p.index
	k.abandon(p)
	p.cause, p.failed = cause, true
	wait := p.backoff.Next()
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
	c.cut() // first, or gRPC would wait for a peer that does not read
	if c.sub != nil {
		c.sub.Shutdown()
	}
}

// lose replaces an admitted connection that has gone.
func (k *keeper) lose(p *place, cause error, now time.Time) {
	c := p.conn
	p.conn, p.cause = nil, cause
	k.leave(c)
	// A peer that accepts and dies at once must not be dialled without pause.
	age := c.age(now)
	if age > settled || c.useful.Load() {
		p.backoff.Reset()
		if age < fleeting {
			p.backoff.Next() // the immediate attempt; it waits for the one after
		}
	}
	wait := p.backoff.Next()
	p.next = now.Add(wait)
	k.e.log.Warn("connection lost", "conn", p.index, "cause", errText(cause), "next", wait)
	k.lostLast(cause, now)
	k.e.changed()
}

// lostLast begins an outage if no connection is left that callers may use.
func (k *keeper) lostLast(cause error, now time.Time) {
	if len(*k.e.admitted.Load()) == 0 && k.outage.since.IsZero() && !k.held {
		k.outage.since = now
		k.e.setLost(now, cause)
		k.e.log.Warn("enclave lost: no connection left", "cause", errText(cause))
	}
}

// settled is how long a connection that carried no call has to live before its
// successor is dialled at once.
const settled = time.Second

// fleeting is how long one that did has to live for that; short of it, its
// successor is dialled after Reconnect.Initial.
const fleeting = 100 * time.Millisecond

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
