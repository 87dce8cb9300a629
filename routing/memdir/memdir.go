package memdir

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/internal/feed"
)

// An Option changes what New returns.
type Option func(*Directory)

// WithHistory sets how many changes a Watch can go back. Default 16 384; at
// least 1, and New panics where it is not.
func WithHistory(n int) Option {
	if n < 1 {
		panic(fmt.Sprintf("memdir: WithHistory(%d): valid: 1 or more", n))
	}
	return func(d *Directory) { d.history = n }
}

// Directory is a routing.Directory. It is safe for concurrent use.
type Directory struct {
	history int
	log     *feed.Log

	mu       sync.RWMutex
	revision uint64
	places   map[string]place
	closed   bool
}

type place struct {
	enclaveID string
	version   uint64
}

var _ routing.Directory = (*Directory)(nil)

// New returns an empty one.
func New(opts ...Option) *Directory {
	d := &Directory{history: 16384, places: map[string]place{}, revision: 1}
	for _, o := range opts {
		o(d)
	}
	d.log = feed.New(d.revision, d.history)
	return d
}

// Close ends every Watch, and makes every other call fail. The error is nil.
func (d *Directory) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.log.Close()
	return nil
}

// usable is asked with the lock held.
func (d *Directory) usable(ctx context.Context) error {
	if d.closed {
		return routing.ErrDirectoryClosed
	}
	return ctx.Err()
}

// Lookup implements routing.Directory.
func (d *Directory) Lookup(ctx context.Context, key string) (routing.Placement, error) {
	if err := routing.CheckKey(key); err != nil {
		return routing.Placement{}, err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.usable(ctx); err != nil {
		return routing.Placement{}, err
	}
	at, ok := d.places[key]
	if !ok {
		return routing.Placement{}, routing.ErrNotPlaced
	}
	return d.placementLocked(key, at), nil
}

func (d *Directory) placementLocked(key string, at place) routing.Placement {
	return routing.Placement{Key: key, EnclaveID: at.enclaveID, Version: at.version, AsOf: d.revision}
}

// Place implements routing.Directory.
func (d *Directory) Place(ctx context.Context, key, enclaveID string) (routing.Placement, bool, error) {
	if err := routing.CheckPlacement(key, enclaveID); err != nil {
		return routing.Placement{}, false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(ctx); err != nil {
		return routing.Placement{}, false, err
	}
	if at, ok := d.places[key]; ok {
		return d.placementLocked(key, at), false, nil
	}
	return d.setLocked(routing.ChangePlaced, strings.Clone(key), enclaveID), true, nil
}

// Move implements routing.Directory.
func (d *Directory) Move(ctx context.Context, from routing.Placement, enclaveID string) (routing.Placement, error) {
	if err := routing.CheckPlacement(from.Key, enclaveID); err != nil {
		return routing.Placement{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if now, err := d.stillLocked(ctx, from); err != nil {
		return now, err
	}
	return d.setLocked(routing.ChangeMoved, from.Key, enclaveID), nil
}

// Forget implements routing.Directory.
func (d *Directory) Forget(ctx context.Context, p routing.Placement) error {
	if err := routing.CheckKey(p.Key); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.stillLocked(ctx, p); err != nil {
		return err
	}
	d.revision++
	delete(d.places, p.Key)
	d.log.Append(routing.Change{Kind: routing.ChangeForgotten, Key: p.Key, Revision: d.revision})
	return nil
}

// stillLocked returns an error where the key is not placed so any more.
func (d *Directory) stillLocked(ctx context.Context, p routing.Placement) (routing.Placement, error) {
	if err := d.usable(ctx); err != nil {
		return routing.Placement{}, err
	}
	at, ok := d.places[p.Key]
	switch {
	case !ok:
		return routing.Placement{}, routing.ErrNotPlaced
	case at.version != p.Version:
		return d.placementLocked(p.Key, at), routing.ErrConflict
	}
	return routing.Placement{}, nil
}

// setLocked appends to the log under the lock, so that its order is theirs.
func (d *Directory) setLocked(kind routing.ChangeKind, key, enclaveID string) routing.Placement {
	d.revision++
	at := place{strings.Clone(enclaveID), d.revision}
	d.places[key] = at
	d.log.Append(routing.Change{Kind: kind, Key: key, EnclaveID: at.enclaveID, Revision: d.revision})
	return d.placementLocked(key, at)
}

// List implements routing.Directory. Each page sorts all keys after the given one.
func (d *Directory) List(ctx context.Context, after string, limit int) (routing.Page, error) {
	if err := routing.CheckLimit(limit); err != nil {
		return routing.Page{}, err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.usable(ctx); err != nil {
		return routing.Page{}, err
	}
	var keys []string
	for key := range d.places {
		if key > after {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	page := routing.Page{Revision: d.revision, More: len(keys) > limit}
	for _, key := range keys[:min(limit, len(keys))] {
		page.Placements = append(page.Placements, d.placementLocked(key, d.places[key]))
	}
	return page, nil
}

// Watch implements routing.Directory.
func (d *Directory) Watch(ctx context.Context, after uint64) iter.Seq2[routing.Change, error] {
	return d.log.Watch(ctx, after)
}
