package routingtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/routing"
)

// DirectoryOption says what else can be done with a Directory under test.
type DirectoryOption func(*directorySuite)

// Reopened: the Directory keeps what it has when it is closed. reopen closes it,
// or kills it, and opens the same record again.
func Reopened(reopen func(routing.Directory) routing.Directory) DirectoryOption {
	return func(s *directorySuite) { s.reopen = reopen }
}

// Shared: several may have the same record open. beside returns another one on
// the same record, the first staying open.
func Shared(beside func(routing.Directory) routing.Directory) DirectoryOption {
	return func(s *directorySuite) { s.beside = beside }
}

// Compacted: compact makes the Directory forget its past, so that a Watch can not
// go back.
func Compacted(compact func(routing.Directory)) DirectoryOption {
	return func(s *directorySuite) { s.compact = compact }
}

// Patience sets how long a check may take, whatever it waits for. Default one
// minute, where milliseconds should do.
func Patience(d time.Duration) DirectoryOption {
	return func(s *directorySuite) { s.patience = d }
}

// directorySuite is the Directory under test and what can be done with it.
type directorySuite struct {
	open           func() routing.Directory
	reopen, beside func(routing.Directory) routing.Directory
	compact        func(routing.Directory)
	patience       time.Duration
}

type directoryCheck struct {
	name string
	run  func(*directorySuite, context.Context) error
	omit func(*directorySuite) bool // nil: never
}

var directoryChecks = []directoryCheck{
	{"lookup", (*directorySuite).lookup, nil},
	{"invalid", (*directorySuite).invalid, nil},
	{"any-bytes", (*directorySuite).anyBytes, nil},
	{"place-once", (*directorySuite).placeOnce, nil},
	{"place-at-once", (*directorySuite).placeAtOnce, nil},
	{"move", (*directorySuite).move, nil},
	{"move-at-once", (*directorySuite).moveAtOnce, nil},
	{"forget", (*directorySuite).forget, nil},
	{"list", (*directorySuite).list, nil},
	{"watch-from", (*directorySuite).watchFrom, nil},
	{"watch-now", (*directorySuite).watchNow, nil},
	{"watch-unknown-revision", (*directorySuite).watchUnknown, nil},
	{"watch-progress", (*directorySuite).watchProgress, nil},
	{"watch-all", (*directorySuite).watchAll, nil},
	{"watch-compacted", (*directorySuite).watchCompacted, func(s *directorySuite) bool { return s.compact == nil }},
	{"ended-context", (*directorySuite).endedContext, nil},
	{"reopened", (*directorySuite).reopened, func(s *directorySuite) bool { return s.reopen == nil }},
	{"shared", (*directorySuite).shared, func(s *directorySuite) bool { return s.beside == nil }},
	{"closed", (*directorySuite).closed, nil},
}

// RunDirectory checks the empty Directories that open returns, a new one each
// time, and reports each check that failed with one Errorf that begins with its
// name. With a *testing.T every check is a subtest. What open opens is its
// caller's to close; one that is a func Close() error is also closed by a check.
//
// It takes a few seconds, most of them waiting for a ChangeProgress.
func RunDirectory(t TB, open func() routing.Directory, opts ...DirectoryOption) {
	t.Helper()
	s := &directorySuite{open: open, patience: time.Minute}
	for _, o := range opts {
		o(s)
	}
	for _, c := range directoryChecks {
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

func (s *directorySuite) report(t TB, c directoryCheck) {
	t.Helper()
	ctx, cancel := context.WithTimeout(background, s.patience)
	defer cancel()
	if err := guarded(func() error { return c.run(s, ctx) }); err != nil {
		t.Errorf("%s: %v", c.name, err)
	}
}

// want returns nil where err is what it should be, and does not name the key.
func want(what string, err, wanted error, key string) error {
	if !errors.Is(err, wanted) {
		return fmt.Errorf("%s: error %w; want %v", what, err, wanted)
	}
	if key != "" && strings.Contains(err.Error(), key) {
		return fmt.Errorf("%s: the key is in the error's text", what)
	}
	return nil
}

// same tells whether two placements are, but for when they were read.
func same(a, b routing.Placement) bool {
	return a.Key == b.Key && a.EnclaveID == b.EnclaveID && a.Version == b.Version
}

// sound returns what is wrong with a placement that should be of that key there.
func sound(p routing.Placement, key, enclaveID string) error {
	if p.Key != key || p.EnclaveID != enclaveID {
		return fmt.Errorf("%+v; want key %q in %q", p, key, enclaveID)
	}
	if p.Version == 0 || p.AsOf < p.Version {
		return fmt.Errorf("%+v; want a Version above 0, and AsOf at least that", p)
	}
	return nil
}

// mustPlace places a key that has no place.
func mustPlace(ctx context.Context, d routing.Directory, key, enclaveID string) (routing.Placement, error) {
	p, placed, err := d.Place(ctx, key, enclaveID)
	switch {
	case err != nil:
		return p, fmt.Errorf("place: %w", err)
	case !placed:
		return p, fmt.Errorf("%+v was there already; want an empty directory", p)
	}
	return p, sound(p, key, enclaveID)
}

// found returns what is wrong where a lookup does not find p.
func found(ctx context.Context, d routing.Directory, p routing.Placement) error {
	got, err := d.Lookup(ctx, p.Key)
	switch {
	case err != nil:
		return fmt.Errorf("lookup of a key that was placed: %w", err)
	case !same(got, p):
		return fmt.Errorf("lookup: %+v; want %+v", got, p)
	}
	return sound(got, p.Key, p.EnclaveID)
}
