package routingtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

// noMembers: a View without members is ErrNoMember, whatever was chosen before.
func (s *suite) noMembers() error {
	sel, key := s.newSelector(), s.key(0)
	for range 2 {
		id, err := sel.Select(s.ctx, routing.NewView(9), key)
		if id != "" || !errors.Is(err, routing.ErrNoMember) {
			return fmt.Errorf("%q, %v from a View without members; want \"\", ErrNoMember", id, err)
		}
		if id, err := choose(s.ctx, sel, routing.NewView(10, enclaves(3)...), key); err != nil || id == "" {
			return fmt.Errorf("%q, %v once there are members; want one of them", id, err)
		}
	}
	return nil
}

// memberOrError: whatever the Views are like, and whatever was chosen before,
// the answer is a Healthy member or an error that a caller understands.
func (s *suite) memberOrError() error {
	sel := s.newSelector()
	random := rand.New(rand.NewPCG(1, 2))
	for seq := range 20 {
		all := enclaves(10)
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:1+random.IntN(len(all))]
		for i := range all {
			m := &all[i]
			m.State = breaker.State(random.IntN(3))
			m.Weight = random.IntN(4)
			m.Cordoned = random.IntN(4) == 0
			m.Epoch = random.Uint64N(3)
			m.Capacity = random.IntN(3) * 100
			m.InFlight = random.IntN(m.Capacity + 1)
		}
		v := routing.NewView(uint64(seq), all...)
		for i := range max(1, s.keys/20) {
			if _, err := choose(s.ctx, sel, v, s.key(i)); err != nil {
				return fmt.Errorf("%w; View %+v", err, v.Members())
			}
		}
	}
	return nil
}

// states: every key has an enclave while all are Healthy, none while none is.
func (s *suite) states() error {
	for _, c := range []struct {
		what   string
		served bool
		change func(i int) breaker.State
	}{
		{"all are Healthy", true, func(int) breaker.State { return breaker.Healthy }},
		{"all are Degraded", false, func(int) breaker.State { return breaker.Degraded }},
		{"all are Draining", false, func(int) breaker.State { return breaker.Draining }},
		{"all are Degraded or Draining", false, func(i int) breaker.State { return breaker.Degraded + breaker.State(i%2) }},
		{"all are Healthy again", true, func(int) breaker.State { return breaker.Healthy }},
	} {
		ms := enclaves(4)
		for i := range ms {
			ms[i].State = c.change(i)
		}
		ids, err := s.chooseAll(s.newSelector(), routing.NewView(1, ms...))
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		for i, id := range ids {
			if (id != "") != c.served {
				return fmt.Errorf("%s: key %q is served by %q", c.what, s.key(i), id)
			}
		}
	}
	return nil
}

// emptyKey: without a key there is an enclave, or ErrNoKey.
func (s *suite) emptyKey() error {
	id, err := s.newSelector().Select(s.ctx, routing.NewView(1, enclaves(4)...), "")
	switch {
	case (id != "") == (err != nil):
		return fmt.Errorf("%q, %v; want an enclave or an error", id, err)
	case s.keyless && err != nil:
		return fmt.Errorf("%w; want an enclave", err)
	case err != nil && !errors.Is(err, routing.ErrNoKey):
		return fmt.Errorf("%w; want an enclave or ErrNoKey", err)
	}
	return nil
}

// endedContext: it may be an error, but no other mischief.
func (s *suite) endedContext() error {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	sel, v := s.newSelector(), routing.NewView(1, enclaves(4)...)
	for i := range s.keys {
		if _, err := choose(ctx, sel, v, s.key(i)); err != nil {
			return err
		}
	}
	return nil
}

// allocations: none for a key that was chosen for before.
func (s *suite) allocations() error {
	sel, v, key := s.newSelector(), routing.NewView(1, enclaves(8)...), s.key(0)
	var failure error
	one := func() {
		if _, err := sel.Select(s.ctx, v, key); err != nil {
			failure = err
		}
	}
	one()
	if n := testing.AllocsPerRun(200, one); n != 0 && failure == nil {
		return fmt.Errorf("%v allocations to choose for a key; want 0", n)
	}
	return failure
}
