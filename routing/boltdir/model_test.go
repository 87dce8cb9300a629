package boltdir_test

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/boltdir"
	"github.com/enclavepool/enclavepool/routing/memdir"
)

// model is a plain map beside a directory; both are told the same.
type model struct {
	dir      routing.Directory
	reopen   func(t *rapid.T) // nil: it keeps nothing
	places   map[string]routing.Placement
	revision uint64
}

func TestDirectoriesDoWhatAMapDoes(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			d := memdir.New()
			defer d.Close()
			(&model{dir: d, places: map[string]routing.Placement{}}).run(t)
		})
	})
	t.Run("bolt", func(t *testing.T) {
		folder := t.TempDir()
		n := 0
		rapid.Check(t, func(t *rapid.T) {
			n++
			path := filepath.Join(folder, fmt.Sprint(n))
			d, err := boltdir.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			m := &model{dir: d, places: map[string]routing.Placement{}}
			m.reopen = func(t *rapid.T) {
				if err := m.dir.(*boltdir.Directory).Close(); err != nil {
					t.Fatal(err)
				}
				if m.dir, err = boltdir.Open(path); err != nil {
					t.Fatal(err)
				}
			}
			defer func() { _ = m.dir.(*boltdir.Directory).Close() }() // the next line's error is the one to see
			m.run(t)
		})
	})
}

func (m *model) run(t *rapid.T) {
	actions := map[string]func(*rapid.T){"place": m.place, "move": m.move, "forget": m.forget, "lookup": m.lookup, "": m.check}
	if m.reopen != nil {
		actions["reopen"] = m.reopen
	}
	t.Repeat(actions)
}

var (
	someKey     = rapid.SampledFrom([]string{"a", "b", "a\x00", "ab", "\xff", "é"})
	someEnclave = rapid.SampledFrom([]string{"x", "y", "z"})
)

// some is a placement to change: the one that counts, an older one, or none at all.
func (m *model) some(t *rapid.T) (p routing.Placement, wanted error) {
	key := someKey.Draw(t, "key")
	now, ok := m.places[key]
	p = routing.Placement{Key: key, Version: now.Version - uint64(rapid.IntRange(0, 1).Draw(t, "versions ago"))}
	switch {
	case !ok:
		return p, routing.ErrNotPlaced
	case p.Version != now.Version:
		return p, routing.ErrConflict
	}
	return p, nil
}

// made checks a new placement, and that its version was never there before.
func (m *model) made(t *rapid.T, p routing.Placement, key, enclaveID string) {
	if p.Key != key || p.EnclaveID != enclaveID || p.Version <= m.revision || p.AsOf < p.Version {
		t.Fatalf("%+v; want %q in %q at more than %d", p, key, enclaveID, m.revision)
	}
	m.revision = p.Version
	m.places[key] = p
}

func same(a, b routing.Placement) bool {
	a.AsOf, b.AsOf = 0, 0
	return a == b
}

func (m *model) place(t *rapid.T) {
	key, id := someKey.Draw(t, "key"), someEnclave.Draw(t, "enclave")
	now, exists := m.places[key]
	p, placed, err := m.dir.Place(ctx, key, id)
	switch {
	case err != nil || placed == exists:
		t.Fatalf("%+v, %v, %v", p, placed, err)
	case exists && !same(p, now):
		t.Fatalf("%+v; want %+v", p, now)
	case placed:
		m.made(t, p, key, id)
	}
}

func (m *model) move(t *rapid.T) {
	from, wanted := m.some(t)
	id := someEnclave.Draw(t, "enclave")
	p, err := m.dir.Move(ctx, from, id)
	switch {
	case !errors.Is(err, wanted):
		t.Fatalf("%v; want %v", err, wanted)
	case wanted == nil:
		m.made(t, p, from.Key, id)
	case wanted == routing.ErrConflict && !same(p, m.places[from.Key]):
		t.Fatalf("%+v; want %+v", p, m.places[from.Key])
	}
}

func (m *model) forget(t *rapid.T) {
	p, wanted := m.some(t)
	if err := m.dir.Forget(ctx, p); !errors.Is(err, wanted) {
		t.Fatalf("%v; want %v", err, wanted)
	}
	if wanted == nil {
		delete(m.places, p.Key)
	}
}

func (m *model) lookup(t *rapid.T) {
	key := someKey.Draw(t, "key")
	now, ok := m.places[key]
	p, err := m.dir.Lookup(ctx, key)
	if ok && (err != nil || !same(p, now)) || !ok && !errors.Is(err, routing.ErrNotPlaced) {
		t.Fatalf("%+v, %v; want %+v", p, err, now)
	}
}

// check compares all of it, in pages of two.
func (m *model) check(t *rapid.T) {
	keys := slices.Sorted(maps.Keys(m.places))
	after := ""
	for more := true; more; {
		page, err := m.dir.List(ctx, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Placements {
			if len(keys) == 0 || p.Key != keys[0] || !same(p, m.places[p.Key]) {
				t.Fatalf("listed %+v; left are %q", p, keys)
			}
			keys, after = keys[1:], p.Key
		}
		more = page.More
	}
	if len(keys) != 0 {
		t.Fatalf("not listed: %q", keys)
	}
}
