package routingtest

import (
	"context"
	"fmt"
	"testing"

	"github.com/enclavepool/enclavepool/routing"
)

// TB is what Run needs of a *testing.T.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
}

// Option says what a Selector does not promise.
type Option func(*suite)

// Keys sets how many keys each check chooses for. Default 2000; at least 64.
// Fewer suit a Selector that writes every key to a disk.
func Keys(n int) Option {
	if n < 64 {
		panic(fmt.Sprintf("routingtest: Keys(%d): valid: 64 or more", n))
	}
	return func(s *suite) { s.keys = n }
}

// Keyless: the Selector chooses anew for every call, with a key or without. The
// checks of what becomes of a key are left out; others take their place.
func Keyless() Option { return func(s *suite) { s.keyless = true } }

// Moves: when a member comes, goes or changes its weight or state, keys of
// others may move too.
func Moves() Option { return func(s *suite) { s.moves = true } }

// Local: two Selectors that newSelector returned need not agree.
func Local() Option { return func(s *suite) { s.local = true } }

// Uneven: one member may serve all keys, though others have the same weight.
func Uneven() Option { return func(s *suite) { s.uneven = true } }

// Allocates: choosing for a key that was chosen for before may allocate.
func Allocates() Option { return func(s *suite) { s.allocates = true } }

// Placing: keys have to be placed before they can be chosen for. Every call says
// that it makes its key (routing.WithPlacing).
func Placing() Option { return func(s *suite) { s.ctx = routing.WithPlacing(s.ctx) } }

// suite is the Selector under test and what is asked of it.
type suite struct {
	newSelector func() routing.Selector
	keys        int

	keyless, moves, local, uneven, allocates bool

	ctx    context.Context // of every call
	prefix string          // of the keys; each check has its own
}

// A check returns what is wrong.
type check struct {
	name string
	run  func(*suite) error
	omit func(*suite) bool // nil: never
}

var checks = []check{
	{"no-members", (*suite).noMembers, nil},
	{"member-or-error", (*suite).memberOrError, nil},
	{"states", (*suite).states, nil},
	{"empty-key", (*suite).emptyKey, nil},
	{"same-enclave", (*suite).sameEnclave, func(s *suite) bool { return s.keyless }},
	{"minimal-movement", (*suite).minimalMovement, func(s *suite) bool { return s.keyless || s.moves }},
	{"cordon", (*suite).cordon, nil},
	{"spread", (*suite).spread, func(s *suite) bool { return s.uneven }},
	{"ended-context", (*suite).endedContext, nil},
	{"concurrency", (*suite).concurrency, nil},
	{"allocations", (*suite).allocations, func(s *suite) bool { return s.allocates }},
}

// Run checks the Selectors that newSelector returns, a new one each time, and
// reports each check that failed with one Errorf that begins with its name. With
// a *testing.T every check is a subtest. The options take back what the Selector
// does not promise.
//
// Selectors that share their memory may be returned as well: no two checks use
// the same keys. What newSelector opens is its caller's to close. Run it with the
// race detector, and not beside parallel tests: it counts allocations.
func Run(t TB, newSelector func() routing.Selector, opts ...Option) {
	t.Helper()
	for _, c := range checks {
		s := &suite{newSelector: newSelector, keys: 2000, ctx: background, prefix: c.name}
		for _, o := range opts {
			o(s)
		}
		if c.omit != nil && c.omit(s) {
			continue
		}
		if sub, ok := t.(interface {
			Run(string, func(*testing.T)) bool
		}); ok {
			sub.Run(c.name, func(t *testing.T) { t.Helper(); s.report(t, c) })
		} else {
			s.report(t, c)
		}
	}
}

func (s *suite) report(t TB, c check) {
	t.Helper()
	if err := guarded(func() error { return c.run(s) }); err != nil {
		t.Errorf("%s: %v", c.name, err)
	}
}

// guarded makes an error of a panic.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

// background is what every context of a check is derived from.
var background = context.Background()
