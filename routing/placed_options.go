package routing

import (
	"fmt"
	"time"
)

// A PlacedOption changes what NewPlaced returns. One whose value is out of range
// panics where it is made.
type PlacedOption func(*placedConfig)

type placedConfig struct {
	cacheSize  int
	mirror     bool
	maxStale   time.Duration
	timeout    time.Duration
	retryAfter time.Duration
	notify     func(PlacedState)
}

func defaultPlacedConfig() placedConfig {
	return placedConfig{
		cacheSize: 1 << 18, maxStale: 24 * time.Hour, timeout: 2 * time.Second, retryAfter: 200 * time.Millisecond,
	}
}

// WithCacheSize sets how many places are kept in memory at most. Default 262 144;
// from 1 to 2²⁷. While the Directory is away those that are not kept can not be
// served.
func WithCacheSize(n int) PlacedOption {
	if n < 1 || n > 1<<27 {
		panic(fmt.Sprintf("routing: WithCacheSize(%d): valid: 1 to 134217728", n))
	}
	return func(c *placedConfig) { c.cacheSize = n }
}

// WithMirror keeps every key that the Directory has, as far as the cache's size
// allows, rather than those that were asked for: it lists all of them at the
// start and after each reset, and keeps what others place. So a gateway serves
// keys that it never saw while the Directory is away.
func WithMirror() PlacedOption {
	return func(c *placedConfig) { c.mirror = true }
}

// WithMaxStale sets for how long places are served from memory while the
// Directory can not be watched, so that a move would go unnoticed; after it the
// Directory is asked for each call, and when it is away there is an error.
// Default 24 hours; 0: not at all.
func WithMaxStale(d time.Duration) PlacedOption {
	if d < 0 {
		panic(fmt.Sprintf("routing: WithMaxStale(%v): valid: 0 or more", d))
	}
	return func(c *placedConfig) { c.maxStale = d }
}

// WithDirectoryTimeout bounds each question to the Directory. Default 2s; more
// than 0. A Directory's own bound holds as well.
func WithDirectoryTimeout(d time.Duration) PlacedOption {
	if d <= 0 {
		panic(fmt.Sprintf("routing: WithDirectoryTimeout(%v): valid: more than 0", d))
	}
	return func(c *placedConfig) { c.timeout = d }
}

// WithOwnerRetryAfter sets the wait that an OwnerError proposes. Default 200ms; 0
// or more.
func WithOwnerRetryAfter(d time.Duration) PlacedOption {
	if d < 0 {
		panic(fmt.Sprintf("routing: WithOwnerRetryAfter(%v): valid: 0 or more", d))
	}
	return func(c *placedConfig) { c.retryAfter = d }
}

// WithNotify has f called when the state is another: one call at a time, from a
// goroutine of the Placed that does nothing else, but that Close waits for. When f
// is slow it misses states, never the last. Its panics are dropped.
func WithNotify(f func(PlacedState)) PlacedOption {
	return func(c *placedConfig) { c.notify = f }
}

// PlacedState is how far a Placed's memory can be trusted.
type PlacedState uint32

const (
	// PlacedStale: the Directory is not being watched. Places are served from
	// memory, and may have changed. It is the first state.
	PlacedStale PlacedState = iota
	// PlacedCurrent: changes arrive as they are made.
	PlacedCurrent
	// PlacedExpired: the Directory has not been watched for WithMaxStale, and
	// memory is not used.
	PlacedExpired
)

// String returns the state in lower case: "current".
func (s PlacedState) String() string {
	switch s {
	case PlacedStale:
		return "stale"
	case PlacedCurrent:
		return "current"
	case PlacedExpired:
		return "expired"
	}
	return "unknown"
}
