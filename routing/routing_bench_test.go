package routing_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

// members returns n Healthy ones with room; the weight of the i-th is weight(i).
func members(n int, weight func(i int) int) []routing.Member {
	ms := make([]routing.Member, n)
	for i := range ms {
		ms[i] = routing.Member{ID: "enclave-" + strconv.Itoa(i), Weight: weight(i), Capacity: 3200}
	}
	return ms
}

func equal(int) int       { return 1 }
func different(i int) int { return i + 1 }

// testKeys are as long as a UUID.
func testKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("0b7a5e1c-52f1-4c1b-9c1e-%012x", i)
	}
	return keys
}

func BenchmarkSelect(b *testing.B) {
	const some = 1024
	keys := testKeys(some)
	for _, c := range []struct {
		name   string
		sel    routing.Selector
		weight func(int) int
		down   bool
	}{
		{"rendezvous", routing.NewRendezvous(), equal, false},
		{"rendezvous,all-weights-differ", routing.NewRendezvous(), different, false},
		{"rendezvous,spill,bound", routing.NewRendezvous(routing.WithSpill(2), routing.WithLoadBound(1.25)), equal, false},
		{"rendezvous,spilled", routing.NewRendezvous(routing.WithSpill(2)), equal, true},
		{"sticky", routing.NewSticky(routing.NewRendezvous()), equal, false},
		{"least-loaded", routing.NewLeastLoaded(), equal, false},
	} {
		for _, n := range []int{8, 64, 1000} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				ms := members(n, c.weight)
				if c.down { // every other one
					for i := range ms {
						ms[i].State = breaker.State(i % 2)
					}
				}
				v := routing.NewView(1, ms...)
				ctx := context.Background()
				for _, key := range keys { // what is sticky has them now
					_, _ = c.sel.Select(ctx, v, key)
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					id, err := c.sel.Select(ctx, v, keys[i%some])
					if id == "" && !c.down {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkView(b *testing.B) {
	for _, n := range []int{8, 1000} {
		ms := members(n, equal)
		b.Run(fmt.Sprintf("new/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				routing.NewView(1, ms...)
			}
		})
		b.Run(fmt.Sprintf("next/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			v := routing.NewView(1, ms...)
			for b.Loop() {
				v = v.Next(2, v.Members()...)
			}
		})
	}
}
