package routingtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"

	"github.com/enclavepool/enclavepool/routing"
)

// watcher pulls changes one by one, and watches again, as everybody has to, where
// the directory could not go on.
type watcher struct {
	again func(after uint64) (next func() (routing.Change, error, bool), stop func())
	after uint64
	next  func() (routing.Change, error, bool)
	end   func()
}

func watch(ctx context.Context, d routing.Directory, after uint64) *watcher {
	w := &watcher{after: after}
	w.again = func(after uint64) (func() (routing.Change, error, bool), func()) {
		return iter.Pull2(d.Watch(ctx, after))
	}
	w.next, w.end = w.again(after)
	return w
}

func (w *watcher) stop() { w.end() }

// any returns the next change, whatever it is.
func (w *watcher) any() (routing.Change, error) {
	c, err, ok := w.next()
	for ok && errors.Is(err, routing.ErrDirectoryUnavailable) {
		w.end()
		w.next, w.end = w.again(w.after)
		c, err, ok = w.next()
	}
	if err == nil {
		w.after = c.Revision
	}
	switch {
	case !ok:
		return c, errors.New("the watch ended without an error")
	case err != nil:
		return c, fmt.Errorf("watch: %w", err)
	case c.Revision == 0 || c.Kind < routing.ChangePlaced || c.Kind > routing.ChangeReset:
		return c, fmt.Errorf("watch: %+v; want a kind and a Revision", c)
	}
	return c, nil
}

func (w *watcher) change() (routing.Change, error) {
	for {
		c, err := w.any()
		if err != nil || c.Kind != routing.ChangeProgress {
			return c, err
		}
	}
}

// expect returns what is wrong where the next change is not that.
func (w *watcher) expect(wanted routing.Change) error {
	got, err := w.change()
	if err != nil {
		return err
	}
	if got != wanted {
		return fmt.Errorf("watch: %+v (%v); want %+v (%v)", got, got.Kind, wanted, wanted.Kind)
	}
	return nil
}

// watchFrom: what was changed after the revision comes first, then what is.
func (s *directorySuite) watchFrom(ctx context.Context) error {
	d := s.open()
	first, err := mustPlace(ctx, d, "k", "a")
	if err != nil {
		return err
	}
	moved, err := d.Move(ctx, first, "b")
	if err != nil {
		return err
	}
	w := watch(ctx, d, first.Version)
	defer w.stop()
	if err := w.expect(routing.Change{Kind: routing.ChangeMoved, Key: "k", EnclaveID: "b", Revision: moved.Version}); err != nil {
		return err
	}
	other, err := mustPlace(ctx, d, "other", "a")
	if err != nil {
		return err
	}
	if err := w.expect(routing.Change{Kind: routing.ChangePlaced, Key: "other", EnclaveID: "a", Revision: other.Version}); err != nil {
		return err
	}
	if err := d.Forget(ctx, moved); err != nil {
		return err
	}
	c, err := w.change()
	if err != nil {
		return err
	}
	if c.Kind != routing.ChangeForgotten || c.Key != "k" || c.EnclaveID != "" || c.Revision <= other.Version {
		return fmt.Errorf("watch: %+v (%v); want k forgotten after revision %d", c, c.Kind, other.Version)
	}
	again, err := mustPlace(ctx, d, "k", "c")
	if err != nil {
		return err
	}
	return w.expect(routing.Change{Kind: routing.ChangePlaced, Key: "k", EnclaveID: "c", Revision: again.Version})
}

// watchNow: the present revision, then what is changed after it.
func (s *directorySuite) watchNow(ctx context.Context) error {
	d := s.open()
	before, err := mustPlace(ctx, d, "k", "a")
	if err != nil {
		return err
	}
	return s.resetThenChanges(ctx, d, routing.Now, before)
}

// watchUnknown: a revision that the directory has not had yet is another record's.
func (s *directorySuite) watchUnknown(ctx context.Context) error {
	d := s.open()
	before, err := mustPlace(ctx, d, "k", "a")
	if err != nil {
		return err
	}
	return s.resetThenChanges(ctx, d, before.Version+1_000_000, before)
}

// watchCompacted: what is forgotten is said to be.
func (s *directorySuite) watchCompacted(ctx context.Context) error {
	d := s.open()
	first, err := mustPlace(ctx, d, "k", "a")
	if err != nil {
		return err
	}
	last := first
	for i := range 40 {
		if last, err = d.Move(ctx, last, fmt.Sprint("enclave-", i)); err != nil {
			return err
		}
	}
	s.compact(d)
	return s.resetThenChanges(ctx, d, first.Version, last)
}

func (s *directorySuite) resetThenChanges(ctx context.Context, d routing.Directory, after uint64, last routing.Placement) error {
	w := watch(ctx, d, after)
	defer w.stop()
	c, err := w.change()
	if err != nil {
		return err
	}
	if c.Kind != routing.ChangeReset || c.Revision < last.Version || c.Key != "" {
		return fmt.Errorf("watch: first %+v (%v); want a reset at %d or later", c, c.Kind, last.Version)
	}
	moved, err := d.Move(ctx, last, "z")
	if err != nil {
		return err
	}
	return w.expect(routing.Change{Kind: routing.ChangeMoved, Key: "k", EnclaveID: "z", Revision: moved.Version})
}

// watchProgress: silence is broken.
func (s *directorySuite) watchProgress(ctx context.Context) error {
	d := s.open()
	p, err := mustPlace(ctx, d, "k", "a")
	if err != nil {
		return err
	}
	w := watch(ctx, d, p.Version)
	defer w.stop()
	for range 2 {
		c, err := w.any()
		if err != nil {
			return fmt.Errorf("no progress: %w", err)
		}
		if c.Kind != routing.ChangeProgress || c.Revision < p.Version {
			return fmt.Errorf("watch: %+v (%v); want progress", c, c.Kind)
		}
	}
	return nil
}

// watchAll: watchers who begin at any time end up with what is listed, whatever
// is changed meanwhile.
func (s *directorySuite) watchAll(ctx context.Context) error {
	d := s.open()
	zero, err := mustPlace(ctx, d, "zero", "a")
	if err != nil {
		return err
	}
	const keys, watchers = 12, 3
	seen := make(chan error, watchers)
	states := make([]map[string]routing.Placement, watchers)
	for i := range watchers {
		go func() {
			seen <- guarded(func() (err error) { states[i], err = follow(ctx, d, zero); return err })
		}()
	}
	err = together(func(caller int) error { return churn(ctx, d, caller, keys) })
	if err == nil {
		_, err = mustPlace(ctx, d, "the end", "a")
	}
	for range watchers {
		err = errors.Join(err, <-seen)
	}
	if err != nil {
		return err
	}
	listed, err := listAll(ctx, d)
	if err != nil {
		return err
	}
	for i, state := range states {
		if !maps.Equal(state, listed) {
			return fmt.Errorf("watcher %d ends up with %+v; listed are %+v", i, state, listed)
		}
	}
	return nil
}

// listAll returns all of a small record, with no AsOf.
func listAll(ctx context.Context, d routing.Directory) (map[string]routing.Placement, error) {
	page, err := d.List(ctx, "", 1000)
	listed := map[string]routing.Placement{}
	for _, p := range page.Placements {
		p.AsOf = 0
		listed[p.Key] = p
	}
	return listed, err
}

// follow builds the record from its changes, until "the end" is placed. A reset
// makes it begin anew, with what is listed, which may be ahead of the changes.
func follow(ctx context.Context, d routing.Directory, zero routing.Placement) (map[string]routing.Placement, error) {
	w := watch(ctx, d, zero.Version)
	defer w.stop()
	zero.AsOf = 0
	state := map[string]routing.Placement{zero.Key: zero}
	last := zero.Version
	for {
		c, err := w.change()
		switch {
		case err != nil:
			return nil, err
		case c.Revision <= last && c.Kind != routing.ChangeReset:
			return nil, fmt.Errorf("revision %d after %d", c.Revision, last)
		case c.Kind == routing.ChangeReset:
			if state, err = listAll(ctx, d); err != nil {
				return nil, err
			}
		case c.Revision <= state[c.Key].Version: // listed already
		case c.Kind == routing.ChangeForgotten:
			delete(state, c.Key)
		default:
			state[c.Key] = routing.Placement{Key: c.Key, EnclaveID: c.EnclaveID, Version: c.Revision}
		}
		last = c.Revision
		if _, ended := state["the end"]; ended {
			return state, nil
		}
	}
}

// churn places, moves and forgets keys that other callers change as well.
func churn(ctx context.Context, d routing.Directory, caller, keys int) error {
	for i := range 3 * keys {
		key := fmt.Sprint("k", (i+caller)%keys)
		p, placed, err := d.Place(ctx, key, fmt.Sprint("enclave-", caller))
		if err != nil {
			return err
		}
		switch {
		case placed || i%3 == 0:
			_, err = d.Move(ctx, p, fmt.Sprint("moved-", caller, i))
		case i%3 == 1:
			err = d.Forget(ctx, p)
		}
		if err != nil && !errors.Is(err, routing.ErrConflict) && !errors.Is(err, routing.ErrNotPlaced) {
			return err
		}
	}
	return nil
}
