package routing

import (
	"fmt"
	"math"
	"time"
)

// An Option changes what NewRendezvous returns. Of several that contradict each
// other the last counts. One whose value is out of range panics where it is
// made: it is a mistake of the program, to be seen when it starts.
type Option interface{ apply(*rendezvous) }

type optionFunc func(*rendezvous)

func (f optionFunc) apply(r *rendezvous) { f(r) }

// Strict is the default: a key is served by its owner or not at all.
var Strict Option = optionFunc(func(r *rendezvous) { r.spill, r.bound = 0, 0 })

// WithSpill lets a key be served by one of the n members after its owner in the
// key's order while the owner is Degraded or Draining: by the first of them that
// is Healthy, not cordoned, and has Capacity. Those that are passed over count
// among the n, so n+1 enclaves at most ever see a key. 0 is Strict.
func WithSpill(n int) Option {
	if n < 0 {
		panic(fmt.Sprintf("routing: WithSpill(%d): valid: 0 or more", n))
	}
	return optionFunc(func(r *rendezvous) { r.spill = n })
}

// WithLoadBound lets keys spill from a Healthy owner as well, while it has more
// than its share of the load: at least c · (calls in flight + 1) · its share of
// the Capacity, both added up over the Healthy members; or has no slot left.
// Where all those that a key may spill to are over it too, it stays. It needs
// WithSpill. c is above 1 and at most 1000; 1.25 is usual. When few calls
// are in flight the bound is low, so keys spill from a nearly idle owner too.
//
// The rule is that of Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing
// with Bounded Loads", SODA 2018.
func WithLoadBound(c float64) Option {
	if !(c > 1 && c <= 1000) { // also true for NaN
		panic(fmt.Sprintf("routing: WithLoadBound(%v): valid: above 1, at most 1000", c))
	}
	return optionFunc(func(r *rendezvous) { r.bound = uint64(math.Ceil(c * boundUnit)) })
}

// WithRetryAfter sets the wait that an OwnerError proposes. Default 200ms, the
// longest that a reconnect waits between attempts; 0 or more.
func WithRetryAfter(d time.Duration) Option {
	if d < 0 {
		panic(fmt.Sprintf("routing: WithRetryAfter(%v): valid: 0 or more", d))
	}
	return optionFunc(func(r *rendezvous) { r.retryAfter = d })
}
