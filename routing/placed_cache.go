package routing

import (
	"strings"
	"sync/atomic"
	"unique"

	"github.com/cespare/xxhash/v2"
	"github.com/maypok86/otter/v2"
)

// places are those that a Placed keeps in memory: filled by answers of the
// Directory and kept true by its changes, which arrive on another way and may
// overtake each other.
//
// An answer that was read before a change, and is put here after the change went
// by, would stay wrong for good. So every change first leaves its revision in
// the stripe of its key, then changes the entry, if there is one. Whoever adds an
// entry first adds it, then looks at the stripe, and takes it out again when
// there is a revision after the one that the answer was read from. Either the
// change comes to the entry after it was added, and corrects it; or it came
// before, and then its revision was in the stripe before the entry was added, and
// is seen. Keys that share a stripe cost each other an entry, no more.
//
// A reset makes all that was asked before it worthless in the same manner, with
// the generation in the place of the stripe.
type places struct {
	cache      *otter.Cache[string, home]
	generation atomic.Uint64
	stripes    [1024]atomic.Uint64
}

// home is where a key lives. There are few enclaves and many keys, so the ID is
// there once.
type home struct {
	enclaveID unique.Handle[string]
	version   uint64
}

func newPlaces(size int) *places {
	return &places{cache: otter.Must(&otter.Options[string, home]{MaximumSize: size})}
}

func (ps *places) stripe(key string) *atomic.Uint64 {
	return &ps.stripes[xxhash.Sum64String(key)%uint64(len(ps.stripes))]
}

func (ps *places) get(key string) (enclaveID string, ok bool) {
	h, ok := ps.cache.GetIfPresent(key)
	if !ok {
		return "", false
	}
	return h.enclaveID.Value(), true
}

// add keeps an answer, whose question was asked in that generation.
func (ps *places) add(p Placement, generation uint64) {
	added := home{unique.Make(p.EnclaveID), p.Version}
	key := strings.Clone(p.Key) // it may be part of a request that is to be freed
	ps.cache.Compute(key, func(old home, found bool) (home, otter.ComputeOp) {
		if found && old.version >= added.version {
			return old, otter.CancelOp
		}
		return added, otter.WriteOp
	})
	if ps.stripe(key).Load() > p.AsOf || ps.generation.Load() != generation {
		ps.cache.ComputeIfPresent(key, func(old home) (home, otter.ComputeOp) {
			if old.version != added.version {
				return old, otter.CancelOp
			}
			return old, otter.InvalidateOp
		})
	}
}

// apply takes in a change of one key; all: also of a key that is not kept.
func (ps *places) apply(c Change, all bool) {
	for s := ps.stripe(c.Key); ; {
		was := s.Load()
		if was >= c.Revision || s.CompareAndSwap(was, c.Revision) {
			break
		}
	}
	if c.Kind == ChangeForgotten {
		ps.cache.ComputeIfPresent(c.Key, func(old home) (home, otter.ComputeOp) {
			if old.version > c.Revision {
				return old, otter.CancelOp
			}
			return old, otter.InvalidateOp
		})
		return
	}
	now := home{unique.Make(c.EnclaveID), c.Revision}
	ps.cache.Compute(c.Key, func(old home, found bool) (home, otter.ComputeOp) {
		if !found && !all || old.version >= now.version {
			return old, otter.CancelOp
		}
		return now, otter.WriteOp
	})
}

// reset forgets everything. Revisions may begin anew: the record may be another.
func (ps *places) reset() {
	ps.generation.Add(1)
	for i := range ps.stripes {
		ps.stripes[i].Store(0)
	}
	ps.cache.InvalidateAll()
}
