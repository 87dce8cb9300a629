package pool

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/enclavepool/enclavepool/breaker"
)

// When the place of a lost connection is dialled again. At once, as a rule. But
// a peer that takes every connection and drops it again must not be dialled
// without a pause: a connection that died young, before it had shown that it is
// of use, says that there may be such a peer. While other connections of the
// enclave do show it, the loss is more likely the connection's own, and the
// enclave is granted some replacements at once for all its places together.
// Once these are used up, and where no connection is of use, the place waits for
// its backoff, which goes on from where it was.

const (
	// fleeting is how long a connection that carried a call has to live for its
	// successor to be dialled at once whatever happens elsewhere.
	fleeting = 50 * time.Millisecond
	// settled is how long one that carried none has to live for that.
	settled = 250 * time.Millisecond
)

// The allowance: so many at once, and so many more a second. It covers a whole
// enclave's connections once; and what is granted and the attempts on an enclave
// that is away, attemptPause apart, stay below 50 a second together, because
// those draw on it too.
const (
	allowedAtOnce    = 32
	allowedPerSecond = 25
)

func newAllowance() *rate.Limiter { return rate.NewLimiter(allowedPerSecond, allowedAtOnce) }

// loss is what is known of a connection that was admitted and has gone.
type loss struct {
	age     time.Duration // since it was admitted
	useful  bool          // a call was answered on it
	healthy bool          // other connections of the enclave are of use
}

// redial is when a place is dialled again.
type redial uint8

const (
	atOnce       redial = iota // the backoff begins anew
	ifAllowed                  // at once if the allowance has one left, else after the backoff
	afterBackoff               // however much is left of it
)

func (l loss) redial() redial {
	switch {
	case l.age > settled, l.useful && l.age >= fleeting:
		return atOnce
	case l.healthy:
		return ifAllowed
	}
	return afterBackoff
}

// planRedial decides when the place of a connection that has gone is dialled
// again, and returns how long that is from now. A lost transport is dialled at
// once, as far as the above goes; a verdict of the probes stands for a while.
func (k *keeper) planRedial(p *place, c *conn, sig breaker.Signal, now time.Time) time.Duration {
	l := loss{age: c.age(now), useful: c.useful.Load(), healthy: sig == breaker.Lost && k.healthy(now)}
	if l.useful || l.age > settled {
		p.backoff.Reset()
		p.backoff.Next() // the immediate one
	}
	d := l.redial()
	p.young = d != atOnce
	if sig == breaker.Ejected {
		return p.rest.Trip(now)
	}
	if d == atOnce || d == ifAllowed && k.allow(p, now) {
		return 0
	}
	return p.backoff.Next()
}

// healthy tells whether a connection is in rotation that has shown that it is of
// use: a call was answered on it, or it has settled.
func (k *keeper) healthy(now time.Time) bool {
	for _, p := range k.places {
		if c := p.conn; c != nil && c.usable() && !c.suspended && (c.useful.Load() || c.age(now) > settled) {
			return true
		}
	}
	return false
}

// allow takes one of the allowance for p's next attempt.
func (k *keeper) allow(p *place, now time.Time) bool {
	p.allowed = k.allowance.AllowN(now, 1)
	return p.allowed
}

// interrupted tells whether p's attempt, which has failed, may be made again at
// once: the enclave had accepted it and then dropped the connection, as it might
// drop any, and is healthy otherwise.
func (k *keeper) interrupted(p *place, dropped bool, now time.Time) bool {
	return dropped && !k.failing && k.outage.since.IsZero() && k.healthy(now) && k.allow(p, now)
}
