package routing_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

// FuzzRendezvous holds the owner of a key to being the same whatever order the members come in, and whichever others
// leave; and a key whose owner leaves, to going where WithSpill would have sent it.
func FuzzRendezvous(f *testing.F) {
	f.Add("k", uint8(5), uint32(7), uint8(2))
	f.Add("", uint8(1), uint32(0), uint8(0))
	f.Add("\x00\xff", uint8(40), uint32(1<<31), uint8(39))
	f.Add("key-17", uint8(2), uint32(1), uint8(1))
	f.Fuzz(func(t *testing.T, key string, n uint8, weights uint32, leaves uint8) {
		var ms []routing.Member
		for i := range int(n%64) + 2 {
			ms = append(ms, routing.Member{ID: "e" + strconv.Itoa(i), Weight: 1 + int(weights>>(i%32)&7), State: breaker.Healthy, Capacity: 1})
		}
		sel := routing.NewRendezvous()
		choose := func(sel routing.Selector, ms []routing.Member) string {
			id, err := sel.Select(t.Context(), routing.NewView(1, ms...), key)
			if key == "" {
				return "" // its own rule: there is nothing to hash
			}
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		owner := choose(sel, ms)
		back := slices.Clone(ms)
		slices.Reverse(back)
		if got := choose(sel, back); got != owner {
			t.Fatalf("%q of the members, %q of the same from back to front", owner, got)
		}
		gone := int(leaves) % len(ms)
		rest := slices.Delete(slices.Clone(ms), gone, gone+1)
		got := choose(sel, rest)
		if ms[gone].ID != owner {
			if got != owner {
				t.Fatalf("%s left, and the key moved from %s to %s", ms[gone].ID, owner, got)
			}
			return
		}
		down := slices.Clone(ms)
		down[gone].State = breaker.Degraded
		if spilled := choose(routing.NewRendezvous(routing.WithSpill(1)), down); spilled != got {
			t.Fatalf("the owner is down: spilled to %s; it left: %s", spilled, got)
		}
	})
}
