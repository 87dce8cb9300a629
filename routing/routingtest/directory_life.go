package routingtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/enclavepool/enclavepool/routing"
)

// endedContext: it is an error that says so, or an answer, and a watch ends.
func (s *directorySuite) endedContext(ctx context.Context) error {
	d := s.open()
	p, err := mustPlace(ctx, d, "k", "a")
	if err != nil {
		return err
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for what, do := range map[string]func() error{
		"lookup": func() error { _, err := d.Lookup(ended, "k"); return err },
		"place":  func() error { _, _, err := d.Place(ended, "k", "b"); return err },
		"list":   func() error { _, err := d.List(ended, "", 1); return err },
	} {
		if err := do(); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s after the context ended: %w", what, err)
		}
	}
	if err := found(ctx, d, p); err != nil {
		return err
	}
	if err := endsWith(ended, d, p.Version, context.Canceled); err != nil {
		return err
	}
	// And one that is waiting for a change.
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	w := watch(waiting, d, p.Version)
	defer w.stop()
	if _, err := w.any(); err != nil { // progress: it waits
		return err
	}
	cancel()
	for {
		if _, err := w.any(); err != nil {
			return want("watch", err, context.Canceled, "")
		}
	}
}

// endsWith returns what is wrong where a watch does not end with that error.
func endsWith(ctx context.Context, d routing.Directory, after uint64, wanted error) error {
	for c, err := range d.Watch(ctx, after) {
		if err != nil {
			return want("watch", err, wanted, "")
		}
		if c.Kind != routing.ChangeProgress && c.Kind != routing.ChangeReset {
			return fmt.Errorf("watch: %+v (%v), and nothing was changed", c, c.Kind)
		}
	}
	return errors.New("the watch ended without an error")
}

// reopened: what was there is there, and revisions go on.
func (s *directorySuite) reopened(ctx context.Context) error {
	d := s.open()
	kept, err := mustPlace(ctx, d, "kept", "a")
	if err != nil {
		return err
	}
	gone, err := mustPlace(ctx, d, "gone", "a")
	if err != nil {
		return err
	}
	moved, err := mustPlace(ctx, d, "moved", "a")
	if err != nil {
		return err
	}
	if moved, err = d.Move(ctx, moved, "b"); err != nil {
		return err
	}
	if err := d.Forget(ctx, gone); err != nil {
		return err
	}
	d = s.reopen(d)
	if err := errors.Join(found(ctx, d, kept), found(ctx, d, moved)); err != nil {
		return err
	}
	if _, err := d.Lookup(ctx, "gone"); !errors.Is(err, routing.ErrNotPlaced) {
		return fmt.Errorf("lookup of what was forgotten before: %w; want ErrNotPlaced", err)
	}
	// Whoever watched before can go on: with the changes, or with a reset.
	w := watch(ctx, d, kept.Version)
	defer w.stop()
	for c := (routing.Change{}); c.Kind != routing.ChangeReset && c.Kind != routing.ChangeForgotten; {
		if c, err = w.change(); err != nil {
			return err
		}
	}
	again, err := mustPlace(ctx, d, "gone", "b")
	if err != nil {
		return err
	}
	if again.Version <= moved.Version+1 { // it was forgotten in between
		return fmt.Errorf("version %d; before it was opened again it had reached %d", again.Version, moved.Version+1)
	}
	return w.expect(routing.Change{Kind: routing.ChangePlaced, Key: "gone", EnclaveID: "b", Revision: again.Version})
}

// shared: what one does the other sees at once, and is told.
func (s *directorySuite) shared(ctx context.Context) error {
	a := s.open()
	b := s.beside(a)
	zero, err := mustPlace(ctx, a, "zero", "a")
	if err != nil {
		return err
	}
	w := watch(ctx, b, zero.Version)
	defer w.stop()
	for i := range 50 {
		key := fmt.Sprint("k", i)
		var got [callers]routing.Placement
		err := together(func(caller int) error {
			d := a
			if caller%2 == 1 {
				d = b
			}
			var err error
			got[caller], _, err = d.Place(ctx, key, fmt.Sprint("enclave-", caller))
			return err
		})
		if err != nil {
			return err
		}
		for _, p := range got {
			if !same(p, got[0]) {
				return fmt.Errorf("two that share a record say %+v and %+v", p, got[0])
			}
		}
		if err := errors.Join(found(ctx, a, got[0]), found(ctx, b, got[0])); err != nil {
			return err
		}
		change := routing.Change{Kind: routing.ChangePlaced, Key: key, EnclaveID: got[0].EnclaveID, Revision: got[0].Version}
		if err := w.expect(change); err != nil {
			return err
		}
	}
	return nil
}

// closed: every call says so, and a watch ends. What has no Close passes.
func (s *directorySuite) closed(ctx context.Context) error {
	d := s.open()
	closer, ok := d.(interface{ Close() error })
	if !ok {
		return nil
	}
	p, err := mustPlace(ctx, d, "k", "a")
	if err != nil {
		return err
	}
	w := watch(ctx, d, p.Version)
	defer w.stop()
	if _, err := w.any(); err != nil { // progress: it waits
		return err
	}
	if err := errors.Join(closer.Close(), closer.Close()); err != nil {
		return fmt.Errorf("close, twice: %w", err)
	}
	_, lookup := d.Lookup(ctx, "k")
	_, _, place := d.Place(ctx, "k", "a")
	_, move := d.Move(ctx, p, "b")
	_, list := d.List(ctx, "", 1)
	for what, err := range map[string]error{"lookup": lookup, "place": place, "move": move, "forget": d.Forget(ctx, p), "list": list} {
		if err := want(what+" after close", err, routing.ErrDirectoryClosed, ""); err != nil {
			return err
		}
	}
	for {
		if _, err := w.any(); err != nil {
			return want("watch after close", err, routing.ErrDirectoryClosed, "")
		}
	}
}
