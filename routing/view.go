package routing

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"github.com/enclavepool/enclavepool/breaker"
)

// Member is one enclave as a View shows it.
type Member struct {
	// ID names the enclave, and alone decides with Weight which keys it owns.
	// It must outlive restarts: never a CID or a path.
	ID string
	// Weight is its share of the keys in proportion to the others'. Default
	// (anything below 1): 1. An enclave that is to get no keys is left out.
	Weight int
	// State is Healthy where it takes calls. One that is warming up after a
	// loss is Healthy as soon as, and with as much Capacity as, whoever makes
	// the View says: a Selector knows of no ramp.
	State breaker.State
	// Cordoned: it keeps the keys that it has and gets no new ones.
	Cordoned bool
	// Epoch changes when the enclave may have lost what it held in memory:
	// every connection to it was lost, and it came back.
	Epoch uint64
	// InFlight is how many calls it has now; Capacity is how many it can take
	// at once. Below 0 means 0, above 2³¹−1 means that. While no Healthy
	// member has any Capacity it is taken to be unknown, and all to be equal.
	InFlight, Capacity int
}

// View is what the enclaves were like at one instant. It does not change, so
// any number of goroutines may read it. A nil View has no members.
//
// Reading is cheap; making one sorts and hashes the members, unless Next finds
// the same ones.
type View struct {
	seq      uint64
	members  []Member // by ID
	ranking  *ranking
	open     []int32 // the members that LeastLoaded chooses from
	healthy  int     // how many are
	inFlight uint64  // of the Healthy
	capacity uint64  // of the Healthy; 0: unknown
}

// NewView returns a View of copies of the members. seq grows from each View of
// a pool to the next. A member without ID is left out, since "" can not be
// chosen; of several with the same ID the last counts. The order in which they
// are given is of no other consequence.
func NewView(seq uint64, members ...Member) *View {
	return (*View)(nil).Next(seq, members...)
}

// Next returns what NewView(seq, members...) does, sooner where the IDs and
// weights are those of v: for whoever makes a View whenever a state or a load
// changes.
func (v *View) Next(seq uint64, members ...Member) *View {
	next := &View{seq: seq, members: normalize(members)}
	if v != nil && v.sameOrder(next.members) {
		next.ranking = v.ranking
	} else {
		next.ranking = newRanking(next.members)
	}
	next.count()
	return next
}

// sameOrder tells whether keys have the same orders of these members.
func (v *View) sameOrder(members []Member) bool {
	return slices.EqualFunc(v.members, members, func(a, b Member) bool {
		return a.ID == b.ID && a.Weight == b.Weight
	})
}

// normalize returns a copy: by ID, each ID once, nothing out of range.
func normalize(members []Member) []Member {
	byID := func(a, b Member) int { return cmp.Compare(a.ID, b.ID) }
	ms := slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.ID == "" })
	if !slices.IsSortedFunc(ms, byID) {
		slices.SortStableFunc(ms, byID)
	}
	kept := ms[:0]
	for i, m := range ms {
		if i+1 < len(ms) && ms[i+1].ID == m.ID {
			continue
		}
		m.Weight = max(m.Weight, 1)
		m.InFlight = min(max(m.InFlight, 0), math.MaxInt32)
		m.Capacity = min(max(m.Capacity, 0), math.MaxInt32)
		kept = append(kept, m)
	}
	return slices.Clip(kept)
}

// count adds up what selectors would otherwise have to for every call.
func (v *View) count() {
	anyCapacity := false // among those that take new work
	for _, m := range v.members {
		if m.State == breaker.Healthy {
			v.healthy++
			v.inFlight += uint64(m.InFlight)
			v.capacity += uint64(m.Capacity)
			anyCapacity = anyCapacity || !m.Cordoned && m.Capacity > 0
		}
	}
	for i, m := range v.members {
		if m.State == breaker.Healthy && !m.Cordoned && (m.Capacity > 0 || !anyCapacity) {
			if v.open == nil {
				v.open = make([]int32, 0, v.healthy)
			}
			v.open = append(v.open, int32(i))
		}
	}
}

// Seq returns the number of the View; of two Views of a pool the one with the
// higher number is the newer.
func (v *View) Seq() uint64 {
	if v == nil {
		return 0
	}
	return v.seq
}

// Len returns how many members there are.
func (v *View) Len() int {
	if v == nil {
		return 0
	}
	return len(v.members)
}

// Members returns a copy of the members, by ID.
func (v *View) Members() []Member {
	if v == nil {
		return nil
	}
	return slices.Clone(v.members)
}

// All yields the members, by ID, without copying all of them first.
func (v *View) All() iter.Seq[Member] {
	return func(yield func(Member) bool) {
		for i := range v.Len() {
			if !yield(v.members[i]) {
				return
			}
		}
	}
}

// Member returns the member with that ID, and whether there is one.
func (v *View) Member(id string) (Member, bool) {
	if i := v.index(id); i >= 0 {
		return v.members[i], true
	}
	return Member{}, false
}

// index returns -1 where there is no such member.
func (v *View) index(id string) int {
	if v.Len() == 0 {
		return -1
	}
	if i, ok := v.ranking.byID[id]; ok {
		return int(i)
	}
	return -1
}
