package routingtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

// enclaves returns n Healthy members that are alike.
func enclaves(n int) []routing.Member {
	ms := make([]routing.Member, n)
	for i := range ms {
		ms[i] = routing.Member{ID: fmt.Sprintf("enclave-%d", i), Weight: 2, Epoch: 1, InFlight: 10, Capacity: 1000}
	}
	return ms
}

// with returns a copy of ms in which the i-th is changed.
func with(ms []routing.Member, i int, change func(*routing.Member)) []routing.Member {
	changed := append([]routing.Member(nil), ms...)
	change(&changed[i])
	return changed
}

func in(state breaker.State) func(*routing.Member) {
	return func(m *routing.Member) { m.State = state }
}

func cordoned(m *routing.Member) { m.Cordoned = true }

// key returns the i-th key of the check.
func (s *suite) key(i int) string { return fmt.Sprintf("%s/%08x", s.prefix, uint32(i)*2654435761) }

// choose selects once, and returns as an error only what a Selector may never
// do; "" is one of the errors that it may return.
func choose(ctx context.Context, sel routing.Selector, v *routing.View, key string) (string, error) {
	id, err := sel.Select(ctx, v, key)
	if err == nil {
		if id == "" {
			return "", fmt.Errorf("key %q: neither an enclave nor an error", key)
		}
		m, ok := v.Member(id)
		if !ok {
			return "", fmt.Errorf("key %q: %q, which is not in the View", key, id)
		}
		if m.State != breaker.Healthy {
			return "", fmt.Errorf("key %q: %q, which is %v", key, id, m.State)
		}
		return id, nil
	}
	if id != "" {
		return "", fmt.Errorf("key %q: both %q and an error, %v", key, id, err)
	}
	if ended := ctx.Err(); ended != nil && errors.Is(err, ended) {
		return "", nil
	}
	var owner *routing.OwnerError
	if errors.As(err, &owner) {
		m, ok := v.Member(owner.EnclaveID)
		fits := m.State != breaker.Healthy && m.State == owner.State
		if ok == owner.Gone || ok && !fits || owner.RetryAfter < 0 {
			return "", fmt.Errorf("key %q: the error %+v does not fit the View's member %+v", key, *owner, m)
		}
	}
	for _, known := range []error{routing.ErrNoMember, routing.ErrOwnerUnavailable, routing.ErrNoKey} {
		if errors.Is(err, known) {
			return "", nil
		}
	}
	return "", fmt.Errorf("key %q: %w; want ErrNoMember, ErrOwnerUnavailable or ErrNoKey", key, err)
}

// chooseAll returns where each key of the check goes.
func (s *suite) chooseAll(sel routing.Selector, v *routing.View) ([]string, error) {
	ids := make([]string, s.keys)
	for i := range ids {
		var err error
		if ids[i], err = choose(s.ctx, sel, v, s.key(i)); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
