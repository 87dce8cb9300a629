package routing

import (
	"context"
	"math/rand/v2"
)

type leastLoaded struct{}

// NewLeastLoaded returns a Selector for calls that any enclave can serve. It
// draws two members at random from those that are Healthy, not cordoned and have
// Capacity, and takes the one with less InFlight ÷ Capacity; with two such
// members that is the least loaded. Taking always the least loaded of many would
// send to it everything that arrives before its load is seen to have grown
// (Mitzenmacher, "How Useful Is Old Information?", IEEE Transactions on Parallel
// and Distributed Systems 11(1), 2000).
//
// Keys and weights count for nothing; there need be no key. The error is
// ErrNoMember where no member qualifies.
func NewLeastLoaded() Selector { return leastLoaded{} }

func (leastLoaded) Select(_ context.Context, v *View, _ string) (string, error) {
	if v.Len() == 0 || len(v.open) == 0 {
		return "", ErrNoMember
	}
	n := uint64(len(v.open))
	drawn := rand.Uint64()
	i, j := (drawn>>32)*n>>32, uint64(uint32(drawn))*(n-1)>>32
	if j >= i {
		j++ // another one, and each as likely
	}
	a := &v.members[v.open[i]]
	if n == 1 {
		return a.ID, nil
	}
	b := &v.members[v.open[j]]
	// Either all that are open have a Capacity, or none.
	if uint64(b.InFlight)*uint64(max(a.Capacity, 1)) < uint64(a.InFlight)*uint64(max(b.Capacity, 1)) {
		return b.ID, nil
	}
	return a.ID, nil
}
