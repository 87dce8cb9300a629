package routing

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"
)

// order returns the IDs in the key's order, as Select would go through them.
func order(v *View, key string) []string {
	hash := xxhash.Sum64String(key)
	var places []int32
	var ids []string
	for range v.Len() {
		next := v.ranking.first(hash, places)
		places = append(places, int32(next))
		ids = append(ids, v.members[v.ranking.members[next]].ID)
	}
	if v.ranking.first(hash, places) >= 0 {
		ids = append(ids, "one too many")
	}
	return ids
}

// plainOrder is the definition: sorted by −log2(u)/w, then u, computed for all.
func plainOrder(v *View, key string) []string {
	type scored struct {
		id      string
		u, w, l uint64
	}
	var all []scored
	for m := range v.All() {
		u := mix(xxhash.Sum64String(key) ^ seedOf(m.ID))
		all = append(all, scored{m.ID, u, uint64(m.Weight), negLog2(u)})
	}
	slices.SortFunc(all, func(a, b scored) int {
		before, after := noLater(a.l, a.w, b.l, b.w), noLater(b.l, b.w, a.l, a.w)
		if before != after {
			if before {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.u, a.u)
	})
	var ids []string
	for _, s := range all {
		ids = append(ids, s.id)
	}
	return ids
}

func drawMembers(t *rapid.T, atMost int) []Member {
	weight := rapid.OneOf(rapid.Just(1), rapid.IntRange(1, 5), rapid.IntRange(1, math.MaxInt32))
	var ms []Member
	for _, id := range rapid.SliceOfNDistinct(rapid.IntRange(0, 99), 1, atMost, rapid.ID).Draw(t, "ids") {
		ms = append(ms, Member{ID: fmt.Sprintf("e%d", id), Weight: weight.Draw(t, "weight")})
	}
	return ms
}

func TestPassingMembersOverDoesNotChangeTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := NewView(1, drawMembers(t, 30)...)
		key := rapid.String().Draw(t, "key")
		if got, want := order(v, key), plainOrder(v, key); !slices.Equal(got, want) {
			t.Errorf("order %v, by definition %v; members %+v", got, want, v.members)
		}
	})
}

func TestTheOrderIsThatOfTheFormulaInFloatingPoint(t *testing.T) {
	v := NewView(1, Member{ID: "a", Weight: 1}, Member{ID: "b", Weight: 2}, Member{ID: "c", Weight: 7}, Member{ID: "d", Weight: 100})
	close := 0
	for i := range 20_000 {
		key := fmt.Sprint("key-", i)
		score := map[string]float64{}
		for m := range v.All() {
			u := mix(xxhash.Sum64String(key) ^ seedOf(m.ID))
			score[m.ID] = -math.Log(math.Ldexp(float64(u), -64)) / float64(m.Weight)
		}
		ids := order(v, key)
		for j, id := range ids[1:] {
			switch before := score[ids[j]]; {
			case math.Abs(before/score[id]-1) < 1e-5:
				close++
			case before > score[id]:
				t.Fatalf("key %q: %q (%g) before %q (%g)", key, ids[j], before, id, score[id])
			}
		}
	}
	if close > 10 {
		t.Errorf("%d of 60000 comparisons were too close to tell", close)
	}
}

// without returns the IDs but for one.
func without(ids []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(other string) bool { return other == id })
}

// The property of which all promises about moving keys follow: whatever happens
// to one member, every key keeps its order of the others.
func TestAChangeOfOneMemberLeavesEveryKeysOrderOfTheOthers(t *testing.T) {
	var keys []string
	for i := range 100 {
		keys = append(keys, fmt.Sprintf("key-%d", i))
	}
	rapid.Check(t, func(t *rapid.T) {
		members := map[string]Member{}
		for _, m := range drawMembers(t, 12) {
			members[m.ID] = m
		}
		view := func() *View {
			var ms []Member
			for _, m := range members { // in any order
				ms = append(ms, m)
			}
			return NewView(1, ms...)
		}
		before := view()
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			id := fmt.Sprintf("e%d", rapid.IntRange(0, 99).Draw(t, "id"))
			if len(members) > 0 && rapid.Bool().Draw(t, "one that is there") {
				id = rapid.SampledFrom(slices.Sorted(func(yield func(string) bool) {
					for id := range members {
						if !yield(id) {
							return
						}
					}
				})).Draw(t, "member")
			}
			m, there := members[id]
			heavier := false
			if there && rapid.Bool().Draw(t, "leaves") {
				delete(members, id)
			} else {
				was := m.Weight
				m.ID, m.Weight = id, rapid.IntRange(1, 1000).Draw(t, "weight")
				heavier = m.Weight >= was
				members[id] = m
			}
			after := view()
			for _, key := range keys {
				a, b := order(before, key), order(after, key)
				if !slices.Equal(without(a, id), without(b, id)) {
					t.Fatalf("%q: the order of the others was %v and is %v", id, a, b)
				}
				// It moves the way its weight does.
				i, j := slices.Index(a, id), slices.Index(b, id)
				if i >= 0 && j >= 0 && (heavier && j > i || !heavier && j < i) {
					t.Fatalf("%q, heavier: %v: from place %d to %d", id, heavier, i, j)
				}
			}
			before = after
		}
	})
}

func TestMembersWithTheSameSeedAreOrderedByWeightAndID(t *testing.T) {
	// No two IDs with the same hash are known, so the seeds are made the same.
	v := NewView(1, Member{ID: "a"}, Member{ID: "b"}, Member{ID: "c", Weight: 2}, Member{ID: "d"})
	for i := range v.ranking.seeds {
		v.ranking.seeds[i] = 7
	}
	if got := strings.Join(order(v, "key"), ""); got != "cabd" {
		t.Errorf("order %s, want cabd", got)
	}
}
