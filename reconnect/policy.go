package reconnect

import (
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/enclavepool/enclavepool/internal/field"
)

// Policy says how long to wait between attempts. The zero value is not valid;
// start from DefaultPolicy.
type Policy struct {
	// Initial is the wait before the second attempt (the first is made at
	// once). Default 25ms; at least 1ms.
	Initial time.Duration
	// Max is the longest wait there ever is, jitter included. Default 200ms;
	// at least Initial.
	Max time.Duration
	// Multiplier is what each further wait is longer by. Default 2; at least 1.
	Multiplier float64
	// Jitter is the share by which a wait is made randomly shorter or longer,
	// before Max is applied. Default 0.2; 0 to below 1.
	Jitter float64
	// Budget is how long callers are kept waiting, unaware, once every
	// connection of an enclave is lost; after it they fail at once until one
	// is back. Default 200ms; 0 lets nobody wait.
	Budget time.Duration
}

// DefaultPolicy returns 25ms doubling to 200ms, ±20 %, with a budget of 200ms.
func DefaultPolicy() Policy {
	return Policy{
		Initial:    25 * time.Millisecond,
		Max:        200 * time.Millisecond,
		Multiplier: 2,
		Jitter:     0.2,
		Budget:     200 * time.Millisecond,
	}
}

// Validate returns nil, or errors.Join of a *field.Error for every bad field.
func (p Policy) Validate() error {
	var c field.Checks
	c.That(p.Initial >= time.Millisecond, "Initial", p.Initial, "at least 1ms")
	c.That(p.Max >= p.Initial, "Max", p.Max, fmt.Sprintf("at least Initial (%v)", p.Initial))
	c.That(p.Multiplier >= 1 && p.Multiplier <= 100, "Multiplier", p.Multiplier, "1 to 100")
	c.That(p.Jitter >= 0 && p.Jitter < 1, "Jitter", p.Jitter, "0 to below 1")
	c.That(p.Budget >= 0, "Budget", p.Budget, "0 or more")
	return c.Err()
}

// Backoff is one connection's way through a Policy. It is not safe for
// concurrent use: the owner of the connection owns it.
type Backoff struct {
	policy   Policy
	schedule *backoff.ExponentialBackOff
}

// Backoff returns a fresh way through p, whose first wait is 0.
func (p Policy) Backoff() *Backoff { return &Backoff{policy: p} }

// Next returns how long to wait before the next attempt: 0 the first time, then
// Initial growing by Multiplier, each jittered and then capped at Max.
func (b *Backoff) Next() time.Duration {
	if b.schedule == nil {
		b.schedule = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(b.policy.Initial),
			backoff.WithMaxInterval(b.policy.Max),
			backoff.WithMultiplier(b.policy.Multiplier),
			backoff.WithRandomizationFactor(b.policy.Jitter),
			backoff.WithMaxElapsedTime(0), // never gives up
		)
		return 0
	}
	// The library jitters after its own cap; the cap has the last word here, so
	// that no wait is longer than the Policy says.
	return min(b.schedule.NextBackOff(), b.policy.Max)
}

// Reset makes the next wait 0 again. Call it after a useful call on the
// connection, not after a mere accept: a peer that accepts and dies at once
// would otherwise be dialled without pause.
func (b *Backoff) Reset() { b.schedule = nil }
