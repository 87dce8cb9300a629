package pool

import (
	"time"

	"golang.org/x/time/rate"
)

// However connections are lost, an enclave is not dialled more often than this:
// one that is admitted, answers a call and hangs up, on every connection, would
// otherwise be dialled a thousand times a second. Losses that come together are
// made up for at once, twice over, since the allowance gathers in quiet times.
const (
	maxDialRate  = 100 // a second
	minDialBurst = 64  // or twice as many as there are places
)

// affords returns when the next attempt may be made.
func (k *keeper) affords(now time.Time) time.Time {
	if burst := max(minDialBurst, 2*len(k.places)); burst != k.dials.Burst() {
		k.dials = rate.NewLimiter(maxDialRate, burst) // full: the new ones are to come at once
	}
	tokens := k.dials.TokensAt(now)
	if tokens >= 1 {
		return now
	}
	return now.Add(time.Duration((1 - tokens) / maxDialRate * float64(time.Second)))
}
