package routing_test

import (
	"testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

func TestChoosingDoesNotAllocate(t *testing.T) {
	ctx := t.Context()
	for name, sel := range map[string]routing.Selector{
		"strict":       routing.NewRendezvous(),
		"spill, bound": routing.NewRendezvous(routing.WithSpill(7), routing.WithLoadBound(1.25)),
		"sticky":       routing.NewSticky(routing.NewRendezvous(routing.WithSpill(7))),
		"least loaded": routing.NewLeastLoaded(),
	} {
		for _, n := range []int{8, 64, 1000} {
			v := routing.NewView(1, members(n, different)...)
			if name != "strict" { // so that some spill
				v = changed(v, "enclave-5", state(breaker.Degraded))
			}
			keys, i := testKeys(100), 0
			for _, key := range keys {
				pick(t, sel, v, key)
			}
			if allocs := testing.AllocsPerRun(1000, func() {
				i++
				if id, err := sel.Select(ctx, v, keys[i%len(keys)]); id == "" {
					t.Error(err)
				}
			}); allocs != 0 {
				t.Errorf("%s, %d members: %v allocations", name, n, allocs)
			}
		}
	}
}
