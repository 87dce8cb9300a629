package routingtest

import (
	"fmt"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

// sameEnclave: a key's enclave depends on the members, not on when or whom one
// asks, nor on the order in which the members were given.
func (s *suite) sameEnclave() error {
	ms := enclaves(8)
	ms[2].Weight, ms[5].Weight = 1, 7
	sel := s.newSelector()
	first, err := s.chooseAll(sel, routing.NewView(1, ms...))
	if err != nil {
		return err
	}
	reversed := make([]routing.Member, len(ms))
	for i, m := range ms {
		reversed[len(ms)-1-i] = m
	}
	asked := []struct {
		what string
		sel  routing.Selector
		v    *routing.View
	}{
		{"the same Selector", sel, routing.NewView(1, ms...)},
		{"a View whose members were given in another order", sel, routing.NewView(2, reversed...)},
		{"another Selector", nil, routing.NewView(1, ms...)},
	}
	for _, a := range asked {
		if a.sel == nil {
			if s.local {
				continue
			}
			a.sel = s.newSelector()
		}
		again, err := s.chooseAll(a.sel, a.v)
		if err != nil {
			return fmt.Errorf("%s: %w", a.what, err)
		}
		for i := range again {
			if again[i] != first[i] {
				return fmt.Errorf("%s: key %q goes to %q, and went to %q", a.what, s.key(i), again[i], first[i])
			}
		}
	}
	return nil
}

// A change of one member, and which of its keys may move: those that it had, or
// those that it gets.
type change struct {
	what          string
	before, after []routing.Member
	changed       string
	loses, gains  bool
}

func changes() []change {
	const which = 3
	ms := enclaves(8)
	id := ms[which].ID
	without := append(append([]routing.Member(nil), ms[:which]...), ms[which+1:]...)
	weighing := func(w int) []routing.Member {
		return with(ms, which, func(m *routing.Member) { m.Weight = w })
	}
	degraded, draining := with(ms, which, in(breaker.Degraded)), with(ms, which, in(breaker.Draining))
	return []change{
		{"a member leaves", ms, without, id, true, false},
		{"a member joins", without, ms, id, false, true},
		{"a member becomes heavier", ms, weighing(9), id, false, true},
		{"a member becomes lighter", ms, weighing(1), id, true, false},
		{"a member is lost", ms, degraded, id, true, false},
		{"a lost member is back", degraded, ms, id, false, true},
		{"a member drains", ms, draining, id, true, false},
		{"a drained member is back", draining, ms, id, false, true},
	}
}

// minimalMovement: only keys of the member that changes may move.
func (s *suite) minimalMovement() error {
	prefix := s.prefix
	for n, c := range changes() {
		s.prefix = fmt.Sprintf("%s-%d", prefix, n)
		sel := s.newSelector()
		before, err := s.chooseAll(sel, routing.NewView(1, c.before...))
		if err != nil {
			return err
		}
		asked := map[string]routing.Selector{"the same Selector": sel}
		if !s.local {
			asked["another Selector"] = s.newSelector()
		}
		for who, sel := range asked {
			after, err := s.chooseAll(sel, routing.NewView(2, c.after...))
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.what, who, err)
			}
			for i, id := range after {
				stays := id == before[i]
				if stays || c.loses && before[i] == c.changed || c.gains && id == c.changed {
					continue
				}
				return fmt.Errorf("%s (%q), %s: key %q moves from %q to %q", c.what, c.changed, who, s.key(i), before[i], id)
			}
		}
	}
	return nil
}

// cordon: a cordoned member keeps its keys, and without keys it gets nothing.
func (s *suite) cordon() error {
	const which = 1
	ms := enclaves(4)
	sel := s.newSelector()
	before, err := s.chooseAll(sel, routing.NewView(1, ms...))
	if err != nil {
		return err
	}
	after, err := s.chooseAll(sel, routing.NewView(2, with(ms, which, cordoned)...))
	if err != nil {
		return err
	}
	for i, id := range after {
		if s.keyless && id == ms[which].ID {
			return fmt.Errorf("a call that any enclave could serve goes to %q, which is cordoned", id)
		}
		if !s.keyless && id != before[i] {
			return fmt.Errorf("when %q is cordoned, key %q moves from %q to %q", ms[which].ID, s.key(i), before[i], id)
		}
	}
	return nil
}

// spread: no member has more than three times its share, and some.
func (s *suite) spread() error {
	ms := enclaves(8)
	ids, err := s.chooseAll(s.newSelector(), routing.NewView(1, ms...))
	if err != nil {
		return err
	}
	had := map[string]int{}
	for _, id := range ids {
		had[id]++
	}
	for id, n := range had {
		if n > 3*len(ids)/len(ms)+20 {
			return fmt.Errorf("%q has %d of %d keys, one of %d members of the same weight", id, n, len(ids), len(ms))
		}
	}
	return nil
}
