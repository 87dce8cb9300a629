package routing_test

import (
	"errors"
	"testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

// share returns how many of n keyless calls each member gets.
func share(t *testing.T, v *routing.View, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		got[pick(t, routing.NewLeastLoaded(), v, "")]++
	}
	return got
}

func TestOfTwoTheOneWithLessLoadForItsCapacityIsChosen(t *testing.T) {
	v := routing.NewView(1,
		routing.Member{ID: "a", InFlight: 30, Capacity: 100},
		routing.Member{ID: "b", InFlight: 50, Capacity: 200})
	if got := share(t, v, 200); got["b"] != 200 {
		t.Errorf("%v, want all on b, which is a quarter full", got)
	}
	unknown := routing.NewView(1, routing.Member{ID: "a", InFlight: 30}, routing.Member{ID: "b", InFlight: 50})
	if got := share(t, unknown, 200); got["a"] != 200 {
		t.Errorf("%v, want all on a, which has fewer calls", got)
	}
}

func TestTheMostLoadedGetsNothingAndEqualsShare(t *testing.T) {
	ms := members(5, equal)
	for i := range ms {
		ms[i].InFlight = 10
	}
	ms[4].InFlight = 11
	got := share(t, routing.NewView(1, ms...), 4000)
	if got["enclave-4"] != 0 {
		t.Errorf("%d calls for the most loaded of all", got["enclave-4"])
	}
	for _, m := range ms[:4] { // 1000 each, give or take 28
		if n := got[m.ID]; n < 800 || n > 1200 {
			t.Errorf("%q has %d of 4000 calls, of 4 that are alike", m.ID, n)
		}
	}
}

func TestOnlyMembersThatTakeNewCallsAreChosen(t *testing.T) {
	v := routing.NewView(1,
		routing.Member{ID: "degraded", State: breaker.Degraded, Capacity: 100},
		routing.Member{ID: "draining", State: breaker.Draining, Capacity: 100},
		routing.Member{ID: "cordoned", Cordoned: true, Capacity: 100},
		routing.Member{ID: "without capacity"},
		routing.Member{ID: "open", InFlight: 99, Capacity: 100})
	if got := share(t, v, 200); got["open"] != 200 {
		t.Errorf("%v, want all on the one that is open", got)
	}
	v = changed(v, "open", cordon)
	if got := share(t, v, 200); got["without capacity"] != 200 {
		t.Errorf("%v, want all on the one that is well and not cordoned: no other states a capacity", got)
	}
	v = changed(v, "without capacity", state(breaker.Degraded))
	if id, err := routing.NewLeastLoaded().Select(t.Context(), v, ""); id != "" || !errors.Is(err, routing.ErrNoMember) {
		t.Errorf("%q, %v; want ErrNoMember", id, err)
	}
}
