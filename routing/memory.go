package routing

import (
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/enclavepool/enclavepool/breaker"
)

// place is where a key went. It does not change: a key that moves gets another.
type place struct {
	key       string
	enclaveID string
	index     int // in the View of that moment, and likely in others
	epoch     uint64
	at        time.Duration // since the memory's start
}

// memory remembers the places of keys: a table of buckets, a key's hash saying
// which is its own. Reading takes no lock and writes nothing, so that callers on
// many cores do not wait for each other.
type memory struct {
	start   time.Time
	maxAge  time.Duration
	ways    int // slots used of each bucket
	buckets []bucket
}

const maxWays = 16

// bucket holds a few keys. A tag is 32 bits of the hash of the key beside it, so
// that most slots are passed over without following the pointer. A reader may
// see a tag without its place or with an older one: it compares the key, and
// at worst misses what is being written at that moment.
type bucket struct {
	tags   [maxWays]atomic.Uint32
	places [maxWays]atomic.Pointer[place]
	mu     sync.Mutex // for writing
}

// newMemory returns a memory of at most maxKeys keys.
func newMemory(maxKeys int, maxAge time.Duration) *memory {
	ways := min(maxKeys, maxWays)
	return &memory{start: time.Now(), maxAge: maxAge, ways: ways, buckets: make([]bucket, maxKeys/ways)}
}

// find returns the bucket and the tag of a key: the hash's upper bits say which
// bucket, its lower ones are the tag.
func (m *memory) find(key string) (*bucket, uint32) {
	hash := xxhash.Sum64String(key)
	i, _ := bits.Mul64(hash, uint64(len(m.buckets)))
	return &m.buckets[i], uint32(hash)
}

// recall returns nil where it knows nothing, or nothing recent.
func (m *memory) recall(key string) *place {
	b, tag := m.find(key)
	p := b.get(tag, key, m.ways)
	if p == nil || time.Since(m.start)-p.at >= m.maxAge {
		return nil
	}
	return p
}

func (b *bucket) get(tag uint32, key string, ways int) *place {
	for i := range ways {
		if b.tags[i].Load() != tag {
			continue
		}
		if p := b.places[i].Load(); p != nil && p.key == key {
			return p
		}
	}
	return nil
}

// remember puts the key at v's member of that index, and returns its ID; or that
// of where somebody else has put it in the meantime, so that callers who ask for
// a new key at the same time agree.
func (m *memory) remember(key string, chosen int, v *View) string {
	b, tag := m.find(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Since(m.start)
	// In the key's own slot, else an empty one, else the one chosen longest ago.
	slot, oldest := 0, now+1
	for i := range m.ways {
		p := b.places[i].Load()
		if p != nil && p.key == key {
			if at := p.usable(v); at != nil && now-p.at < m.maxAge {
				return at.ID
			}
			slot = i
			break
		}
		chosenAt := time.Duration(-1)
		if p != nil {
			chosenAt = p.at
		}
		if chosenAt < oldest {
			slot, oldest = i, chosenAt
		}
	}
	// A copy of the key: it may be part of a request that is to be freed.
	to := &v.members[chosen]
	b.places[slot].Store(&place{key: strings.Clone(key), enclaveID: to.ID, index: chosen, epoch: to.Epoch, at: now})
	b.tags[slot].Store(tag)
	return to.ID
}

// usable returns the member of v at p, or nil where the key may not, or need
// not, be sent there. p may be nil.
func (p *place) usable(v *View) *Member {
	if p == nil {
		return nil
	}
	var m *Member
	if p.index < len(v.members) && v.members[p.index].ID == p.enclaveID {
		m = &v.members[p.index]
	} else if i := v.index(p.enclaveID); i >= 0 {
		m = &v.members[i]
	} else {
		return nil
	}
	if m.Epoch != p.epoch || m.State != breaker.Healthy {
		return nil
	}
	return m
}
