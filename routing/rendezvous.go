package routing

import (
	"context"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/enclavepool/enclavepool/breaker"
)

type rendezvous struct {
	spill      int
	bound      uint64 // in boundUnits; 0: none
	retryAfter time.Duration
}

// NewRendezvous returns a Selector that gives every key an order of all members,
// whose first is the key's owner. IDs and weights alone make the order: gateways
// that have the same of these agree without talking, on every architecture, and
// when a member comes, goes or changes its weight, only its own keys move.
//
// A member's state is no part of it: an owner that is Degraded, Draining or
// cordoned remains the owner, and a cordoned one goes on to serve its keys. An
// enclave that is not in the View owns nothing; its keys have the next in their
// order as owner.
//
// By default (Strict) Select returns the owner, or an *OwnerError while it is
// Degraded or Draining; WithSpill relaxes that. It needs a key (ErrNoKey),
// ignores its context, and allocates nothing but an error.
func NewRendezvous(opts ...Option) Selector {
	r := &rendezvous{retryAfter: 200 * time.Millisecond}
	for _, o := range opts {
		o.apply(r)
	}
	if r.bound != 0 && r.spill == 0 {
		panic("routing: WithLoadBound needs WithSpill(n) with n of 1 or more, before or after it")
	}
	return r
}

func (r *rendezvous) Select(_ context.Context, v *View, key string) (string, error) {
	if v.Len() == 0 {
		return "", ErrNoMember
	}
	if key == "" {
		return "", ErrNoKey
	}
	hash := xxhash.Sum64String(key)
	first := v.ranking.first(hash, nil)
	owner := &v.members[v.ranking.members[first]]
	if r.spill == 0 {
		if owner.State == breaker.Healthy {
			return owner.ID, nil
		}
		return "", r.unavailable(owner)
	}
	if v.admits(owner) && (r.bound == 0 || !v.overBound(owner, r.bound)) {
		return owner.ID, nil
	}
	return r.spilled(v, hash, int32(first))
}

// spilled chooses for a key whose owner, in place first, is not to have it.
func (r *rendezvous) spilled(v *View, hash uint64, first int32) (string, error) {
	owner := &v.members[v.ranking.members[first]]
	var crowded *Member // the first that could take it but for the bound
	if v.admits(owner) {
		crowded = owner
	}
	var few [8]int32 // on the stack
	tried := append(few[:0], first)
	for range r.spill {
		next := v.ranking.first(hash, tried)
		if next < 0 {
			break
		}
		tried = append(tried, int32(next))
		m := &v.members[v.ranking.members[next]]
		switch {
		case m.Cordoned || !v.admits(m):
		case r.bound == 0 || !v.overBound(m, r.bound):
			return m.ID, nil
		case crowded == nil:
			crowded = m
		}
	}
	switch {
	case crowded != nil:
		return crowded.ID, nil
	case owner.State == breaker.Healthy:
		return owner.ID, nil
	}
	return "", r.unavailable(owner)
}

func (r *rendezvous) unavailable(owner *Member) error {
	return &OwnerError{EnclaveID: owner.ID, State: owner.State, RetryAfter: r.retryAfter}
}
