package routing

import (
	"context"
	"fmt"
	"time"
)

// A StickyOption changes what NewSticky returns. One whose value is out of range
// panics where it is made.
type StickyOption func(*stickyConfig)

type stickyConfig struct {
	maxKeys int
	maxAge  time.Duration
}

// WithMaxKeys sets how many keys are remembered at most. Default 65 536, for
// which 0.8 MiB are taken at once and some 120 bytes for every key as it comes;
// from 1 to 2²⁴. A new key takes the place of an old one before all places are
// taken, since each key has 16 that it may take; while half of all are free, not
// one key in a hundred is forgotten for that reason.
func WithMaxKeys(n int) StickyOption {
	if n < 1 || n > 1<<24 {
		panic(fmt.Sprintf("routing: WithMaxKeys(%d): valid: 1 to 16777216", n))
	}
	return func(c *stickyConfig) { c.maxKeys = n }
}

// WithMaxAge sets how long a place is remembered from when it was chosen, in use
// or not; then the inner Selector chooses anew. It bounds for how long gateways
// that saw different states send a key to different places. Default 10 minutes;
// more than 0.
func WithMaxAge(d time.Duration) StickyOption {
	if d <= 0 {
		panic(fmt.Sprintf("routing: WithMaxAge(%v): valid: more than 0", d))
	}
	return func(c *stickyConfig) { c.maxAge = d }
}

type sticky struct {
	inner  Selector
	memory *memory
}

// NewSticky returns a Selector that sends a key to where it sent it last. What it
// does not know it asks inner, whose errors it returns. So a key that spilled
// stays where it went when its owner comes back, and a key whose owner changes
// because an enclave was added stays as well, both for WithMaxAge.
//
// The place is not used while it is Degraded or Draining (inner chooses, and
// what it chooses is remembered instead), nor after its Epoch has changed or it
// has left the View. A cordoned one keeps its keys; a key that inner sends to
// one goes there but is not remembered.
//
// The memory is this Selector's own: two gateways, or a gateway after a restart,
// share nothing but inner. Calls without a key are inner's alone. It starts no
// goroutine, and allocates only to remember.
func NewSticky(inner Selector, opts ...StickyOption) Selector {
	c := stickyConfig{maxKeys: 1 << 16, maxAge: 10 * time.Minute}
	for _, o := range opts {
		o(&c)
	}
	return &sticky{inner: inner, memory: newMemory(c.maxKeys, c.maxAge)}
}

func (s *sticky) Select(ctx context.Context, v *View, key string) (string, error) {
	if v.Len() == 0 {
		return "", ErrNoMember
	}
	if key == "" {
		return s.inner.Select(ctx, v, key)
	}
	if m := s.memory.recall(key).usable(v); m != nil {
		return m.ID, nil
	}
	id, err := s.inner.Select(ctx, v, key)
	if err != nil {
		return "", err
	}
	i := v.index(id)
	if i < 0 || v.members[i].Cordoned {
		return id, nil
	}
	return s.memory.remember(key, i, v), nil
}
