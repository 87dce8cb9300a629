package routingtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/enclavepool/enclavepool/routing"
)

// lookup: a key without a place is ErrNotPlaced; one that was placed is found.
func (s *directorySuite) lookup(ctx context.Context) error {
	d := s.open()
	if _, err := d.Lookup(ctx, "nobody"); err == nil || want("lookup", err, routing.ErrNotPlaced, "nobody") != nil {
		return fmt.Errorf("lookup of a key without a place: %w; want ErrNotPlaced, without the key", err)
	}
	p, err := mustPlace(ctx, d, "somebody", "a")
	if err != nil {
		return err
	}
	return found(ctx, d, p)
}

// invalid: what is too long or empty is refused, and changes nothing.
func (s *directorySuite) invalid(ctx context.Context) error {
	d := s.open()
	long, longID := strings.Repeat("k", routing.MaxKeyLen+1), strings.Repeat("e", routing.MaxEnclaveIDLen+1)
	p, err := mustPlace(ctx, d, "k", "a")
	if err != nil {
		return err
	}
	at := func(key string) routing.Placement { return routing.Placement{Key: key, Version: p.Version} }
	for what, do := range map[string]func() error{
		"lookup, no key":     func() error { _, err := d.Lookup(ctx, ""); return err },
		"lookup, long key":   func() error { _, err := d.Lookup(ctx, long); return err },
		"place, no key":      func() error { _, _, err := d.Place(ctx, "", "a"); return err },
		"place, long key":    func() error { _, _, err := d.Place(ctx, long, "a"); return err },
		"place, no enclave":  func() error { _, _, err := d.Place(ctx, "new", ""); return err },
		"place, long ID":     func() error { _, _, err := d.Place(ctx, "new", longID); return err },
		"move, no key":       func() error { _, err := d.Move(ctx, at(""), "a"); return err },
		"move, no enclave":   func() error { _, err := d.Move(ctx, p, ""); return err },
		"move, long ID":      func() error { _, err := d.Move(ctx, p, longID); return err },
		"forget, long key":   func() error { return d.Forget(ctx, at(long)) },
		"list, limit 0":      func() error { _, err := d.List(ctx, "", 0); return err },
		"list, limit 10 001": func() error { _, err := d.List(ctx, "", 10_001); return err },
	} {
		if err := want(what, do(), routing.ErrInvalidPlacement, long); err != nil {
			return err
		}
	}
	page, err := d.List(ctx, "", 10)
	if err != nil || len(page.Placements) != 1 || !same(page.Placements[0], p) {
		return fmt.Errorf("list after what was refused: %+v, %w; want %+v alone", page, err, p)
	}
	return nil
}

// anyBytes: keys and IDs are bytes, and one key's being the beginning of another
// is of no consequence.
func (s *directorySuite) anyBytes(ctx context.Context) error {
	d := s.open()
	keys := []string{"a", "a\x00", "a\x00b", "a/b", "a/", "\x00", "\xff", "\xff\xff", "schlüssel", " ", strings.Repeat("k", routing.MaxKeyLen)}
	for i, key := range keys {
		id := fmt.Sprintf("enclave\x00/%d", i)
		if i == 0 {
			id = strings.Repeat("\xff", routing.MaxEnclaveIDLen)
		}
		if _, err := mustPlace(ctx, d, key, id); err != nil {
			return err
		}
	}
	first, err := d.Lookup(ctx, keys[0])
	if err != nil {
		return err
	}
	if err := d.Forget(ctx, first); err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	page, err := d.List(ctx, "", 100)
	if err != nil || len(page.Placements) != len(keys)-1 {
		return fmt.Errorf("%d of %d keys are left after one was forgotten, %w", len(page.Placements), len(keys), err)
	}
	return nil
}

// placeOnce: the first place counts.
func (s *directorySuite) placeOnce(ctx context.Context) error {
	d := s.open()
	p, err := mustPlace(ctx, d, "k", "a")
	if err != nil {
		return err
	}
	for _, id := range []string{"b", "a"} {
		again, placed, err := d.Place(ctx, "k", id)
		if err != nil || placed || !same(again, p) || sound(again, "k", "a") != nil {
			return fmt.Errorf("a second place, in %q: %+v, %v, %w; want %+v, false", id, again, placed, err, p)
		}
	}
	other, err := mustPlace(ctx, d, "other", "b")
	if err != nil {
		return err
	}
	if other.Version <= p.Version {
		return fmt.Errorf("version %d after %d; want it to grow", other.Version, p.Version)
	}
	return errors.Join(found(ctx, d, p), found(ctx, d, other))
}

// placeAtOnce: of those who place a key at the same time one does.
func (s *directorySuite) placeAtOnce(ctx context.Context) error {
	d := s.open()
	for round := range 20 {
		key := fmt.Sprint("k", round)
		var winners atomic.Int32
		var got [callers]routing.Placement
		err := together(func(caller int) error {
			p, placed, err := d.Place(ctx, key, fmt.Sprint("enclave-", caller))
			if placed {
				winners.Add(1)
				if p.EnclaveID != fmt.Sprint("enclave-", caller) {
					return fmt.Errorf("placed in %q what was to be in enclave-%d", p.EnclaveID, caller)
				}
			}
			got[caller] = p
			return err
		})
		if err != nil {
			return err
		}
		if n := winners.Load(); n != 1 {
			return fmt.Errorf("%d of %d callers recorded a place; want 1", n, callers)
		}
		for _, p := range got {
			if !same(p, got[0]) {
				return fmt.Errorf("callers were told %+v and %+v", p, got[0])
			}
		}
		if err := found(ctx, d, got[0]); err != nil {
			return err
		}
	}
	return nil
}

// move: only from where it was read to be.
func (s *directorySuite) move(ctx context.Context) error {
	d := s.open()
	if _, err := d.Move(ctx, routing.Placement{Key: "nobody", Version: 1}, "b"); !errors.Is(err, routing.ErrNotPlaced) {
		return fmt.Errorf("move of a key without a place: %w; want ErrNotPlaced", err)
	}
	p, err := mustPlace(ctx, d, "k", "a")
	if err != nil {
		return err
	}
	for _, id := range []string{"b", "b"} {
		moved, err := d.Move(ctx, p, id)
		if err != nil {
			return fmt.Errorf("move: %w", err)
		}
		if err := errors.Join(sound(moved, "k", id), found(ctx, d, moved)); err != nil {
			return err
		}
		if moved.Version <= p.Version {
			return fmt.Errorf("moved from version %d to %d; want it to grow", p.Version, moved.Version)
		}
		now, err := d.Move(ctx, p, "c")
		if want("move", err, routing.ErrConflict, "") != nil || !same(now, moved) {
			return fmt.Errorf("move from a version that is gone: %+v, %w; want %+v, ErrConflict", now, err, moved)
		}
		p = moved
	}
	return found(ctx, d, p)
}

// moveAtOnce: of those who move a key from the same place one does.
func (s *directorySuite) moveAtOnce(ctx context.Context) error {
	d := s.open()
	p, err := mustPlace(ctx, d, "k", "a")
	if err != nil {
		return err
	}
	for range 20 {
		var winners atomic.Int32
		var won atomic.Pointer[routing.Placement]
		err := together(func(caller int) error {
			moved, err := d.Move(ctx, p, fmt.Sprint("enclave-", caller))
			if err == nil {
				winners.Add(1)
				won.Store(&moved)
				return nil
			}
			return want("move", err, routing.ErrConflict, "")
		})
		if err != nil {
			return err
		}
		if n := winners.Load(); n != 1 {
			return fmt.Errorf("%d of %d callers moved the key from the same version; want 1", n, callers)
		}
		p = *won.Load()
		if err := found(ctx, d, p); err != nil {
			return err
		}
	}
	return nil
}

// forget: only what was read, and a later placement is not taken for it.
func (s *directorySuite) forget(ctx context.Context) error {
	d := s.open()
	p, err := mustPlace(ctx, d, "k", "a")
	if err != nil {
		return err
	}
	moved, err := d.Move(ctx, p, "b")
	if err != nil {
		return err
	}
	if err := want("forget what is elsewhere by now", d.Forget(ctx, p), routing.ErrConflict, ""); err != nil {
		return err
	}
	if err := found(ctx, d, moved); err != nil {
		return err
	}
	if err := d.Forget(ctx, moved); err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	if _, err := d.Lookup(ctx, "k"); !errors.Is(err, routing.ErrNotPlaced) {
		return fmt.Errorf("lookup of a key that was forgotten: %w; want ErrNotPlaced", err)
	}
	if err := want("forget twice", d.Forget(ctx, moved), routing.ErrNotPlaced, ""); err != nil {
		return err
	}
	again, err := mustPlace(ctx, d, "k", "b")
	if err != nil {
		return err
	}
	if again.Version <= moved.Version {
		return fmt.Errorf("version %d of a key that had %d before it was forgotten; want it to grow", again.Version, moved.Version)
	}
	if err := want("forget with the version before", d.Forget(ctx, moved), routing.ErrConflict, ""); err != nil {
		return err
	}
	return found(ctx, d, again)
}

// list: every key once, in order, whatever the page's size.
func (s *directorySuite) list(ctx context.Context) error {
	d := s.open()
	page, err := d.List(ctx, "", 10)
	if err != nil || len(page.Placements) != 0 || page.More || page.Revision == 0 {
		return fmt.Errorf("list of an empty directory: %+v, %w; want nothing, and a Revision", page, err)
	}
	const n = 57
	placed := map[string]routing.Placement{}
	for i := range n {
		key := fmt.Sprintf("k%02d", i*31%n)
		if placed[key], err = mustPlace(ctx, d, key, "a"); err != nil {
			return err
		}
	}
	for _, limit := range []int{1, 7, n - 1, n, n + 1, 10_000} {
		seen, after := 0, ""
		for {
			page, err := d.List(ctx, after, limit)
			if err != nil {
				return fmt.Errorf("list: %w", err)
			}
			if len(page.Placements) > limit || page.More && len(page.Placements) == 0 {
				return fmt.Errorf("list after %q: %d placements, more: %v; the limit is %d", after, len(page.Placements), page.More, limit)
			}
			for _, p := range page.Placements {
				if p.Key <= after || !same(p, placed[p.Key]) || p.AsOf < p.Version || p.AsOf > page.Revision {
					return fmt.Errorf("list after %q at %d: %+v; want %+v", after, page.Revision, p, placed[p.Key])
				}
				after = p.Key
				seen++
			}
			if !page.More {
				break
			}
		}
		if seen != n {
			return fmt.Errorf("pages of %d listed %d of %d keys", limit, seen, n)
		}
	}
	return nil
}
