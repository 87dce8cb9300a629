package routing_test

import (
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

func ids(v *routing.View) []string {
	var ids []string
	for m := range v.All() {
		ids = append(ids, m.ID)
	}
	return ids
}

func TestMembersAreOrderedByIDAndUnique(t *testing.T) {
	v := routing.NewView(7,
		routing.Member{ID: "b", Weight: 2}, routing.Member{ID: "c", Epoch: 1}, routing.Member{ID: ""},
		routing.Member{ID: "a"}, routing.Member{ID: "c", Epoch: 2}, routing.Member{ID: "b", Weight: 5})
	if got := ids(v); !slices.Equal(got, []string{"a", "b", "c"}) || v.Len() != 3 || v.Seq() != 7 {
		t.Errorf("members %q, length %d, seq %d", got, v.Len(), v.Seq())
	}
	if b, ok := v.Member("b"); !ok || b.Weight != 5 {
		t.Errorf("b is %+v, %v; of two the last counts", b, ok)
	}
	if c, ok := v.Member("c"); !ok || c.Epoch != 2 {
		t.Errorf("c is %+v, %v; of two the last counts", c, ok)
	}
	for _, id := range []string{"", "d"} {
		if m, ok := v.Member(id); ok {
			t.Errorf("member %q is %+v", id, m)
		}
	}
}

func TestNumbersOutOfRangeAreBroughtIntoIt(t *testing.T) {
	v := routing.NewView(1,
		routing.Member{ID: "low", Weight: -3, InFlight: -1, Capacity: -1},
		routing.Member{ID: "high", Weight: math.MaxInt, InFlight: math.MaxInt, Capacity: math.MaxInt})
	if m, _ := v.Member("low"); m != (routing.Member{ID: "low", Weight: 1}) {
		t.Errorf("%+v", m)
	}
	if m, _ := v.Member("high"); m.Weight != math.MaxInt || m.InFlight != math.MaxInt32 || m.Capacity != math.MaxInt32 {
		t.Errorf("%+v", m)
	}
	// Nothing overflows: a full owner is over any bound.
	sel := routing.NewRendezvous(routing.WithSpill(1), routing.WithLoadBound(1000))
	for _, key := range testKeys(20) {
		if got := pick(t, sel, v, key); got != "high" {
			t.Errorf("%q has no capacity", got)
		}
	}
}

func TestAViewDoesNotChangeWithWhatItWasMadeOf(t *testing.T) {
	given := []routing.Member{{ID: "a"}, {ID: "b"}}
	v := routing.NewView(1, given...)
	given[0].ID = "x"
	v.Members()[0].ID = "y"
	if got := ids(v); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("members %q", got)
	}
}

func TestAViewThatIsNilOrZeroHasNoMembers(t *testing.T) {
	for _, v := range []*routing.View{nil, {}} {
		if v.Len() != 0 || v.Seq() != 0 || len(v.Members()) != 0 || len(ids(v)) != 0 {
			t.Errorf("%+v has members", v)
		}
		if _, ok := v.Member("a"); ok {
			t.Errorf("%+v has a member", v)
		}
		if next := v.Next(1, routing.Member{ID: "a"}); next.Len() != 1 {
			t.Errorf("the next of %+v has none", v)
		}
	}
}

func TestTheNextViewIsLikeAFreshOne(t *testing.T) {
	v := routing.NewView(1, members(20, different)...)
	strict := routing.NewRendezvous(routing.WithSpill(20))
	for what, change := range map[string]func([]routing.Member) []routing.Member{
		"a state":       func(ms []routing.Member) []routing.Member { ms[3].State = breaker.Degraded; return ms },
		"the loads":     func(ms []routing.Member) []routing.Member { ms[4].Capacity, ms[5].InFlight = 0, 9; return ms },
		"a weight":      func(ms []routing.Member) []routing.Member { ms[3].Weight = 50; return ms },
		"one fewer":     func(ms []routing.Member) []routing.Member { return ms[1:] },
		"another":       func(ms []routing.Member) []routing.Member { ms[3].ID = "zz"; return ms },
		"no change":     func(ms []routing.Member) []routing.Member { return ms },
		"their order":   func(ms []routing.Member) []routing.Member { slices.Reverse(ms); return ms },
		"no member":     func([]routing.Member) []routing.Member { return nil },
		"one, twice":    func(ms []routing.Member) []routing.Member { return append(ms, ms[0]) },
		"with one more": func(ms []routing.Member) []routing.Member { return append(ms, routing.Member{ID: "0"}) },
	} {
		next, fresh := v.Next(2, change(v.Members())...), routing.NewView(2, change(v.Members())...)
		if !slices.Equal(next.Members(), fresh.Members()) || next.Seq() != 2 {
			t.Errorf("%s: %+v, want %+v", what, next.Members(), fresh.Members())
		}
		for _, key := range testKeys(200) {
			a, errA := strict.Select(t.Context(), next, key)
			b, errB := strict.Select(t.Context(), fresh, key)
			if a != b || (errA == nil) != (errB == nil) {
				t.Fatalf("%s: key %q goes to %q, %v; with a fresh View to %q, %v", what, key, a, errA, b, errB)
			}
		}
	}
}

func TestWalkingThroughTheMembersCanBeBrokenOff(t *testing.T) {
	n := 0
	for range routing.NewView(1, members(5, equal)...).All() {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d members", n)
	}
}

func TestReadingAViewDoesNotAllocate(t *testing.T) {
	v := routing.NewView(1, members(64, equal)...)
	id := "enclave-" + strconv.Itoa(40)
	if n := testing.AllocsPerRun(100, func() {
		if m, ok := v.Member(id); !ok || m.ID != id || v.Len() != 64 {
			t.Error(m, ok)
		}
		for m := range v.All() {
			if m.ID == "" {
				t.Error("no ID")
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
