package routing_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

// chiSquare compares counts with shares in proportion to the weights. It returns
// how many standard deviations the statistic is above its mean, by Wilson and
// Hilferty's approximation of its distribution.
func chiSquare(counts map[string]int, ms []routing.Member) float64 {
	total, weights := 0, 0
	for _, m := range ms {
		total += counts[m.ID]
		weights += m.Weight
	}
	x := 0.0
	for _, m := range ms {
		want := float64(total) * float64(m.Weight) / float64(weights)
		d := float64(counts[m.ID]) - want
		x += d * d / want
	}
	k := float64(len(ms) - 1)
	return (math.Cbrt(x/k) - (1 - 2/(9*k))) / math.Sqrt(2/(9*k))
}

// The keys are fixed, so a result is the same in every run: of a few dozen that
// follow the proportions none is 4 deviations off.
const tooFar = 4

func TestKeysAreInProportionToTheWeights(t *testing.T) {
	weights := map[string]func(int) int{
		"equal": equal, "rising": different,
		"powers of two":            func(i int) int { return 1 << (i % 8) },
		"a heavy one among light":  func(i int) int { return 1 + 99*max(0, 1-i) },
		"large, nearly equal ones": func(i int) int { return 1_000_000_007 + i },
	}
	keys := map[string]func(int) string{
		"numbers":  func(i int) string { return fmt.Sprint(i) },
		"like IDs": func(i int) string { return fmt.Sprintf("enclave-%d", i) },
		"as UUIDs": func(i int) string { return fmt.Sprintf("0b7a5e1c-52f1-4c1b-9c1e-%012x", i*7919) },
		"long":     func(i int) string { return strings.Repeat("x", 100) + fmt.Sprint(i) },
	}
	sel := routing.NewRendezvous()
	for wname, weight := range weights {
		for kname, key := range keys {
			for _, n := range []int{2, 8, 64} {
				v := routing.NewView(1, members(n, weight)...)
				counts := map[string]int{}
				for i := range 40_000 {
					counts[pick(t, sel, v, key(i))]++
				}
				if z := chiSquare(counts, v.Members()); z > tooFar || math.IsNaN(z) {
					t.Errorf("weights %s, keys %s, %d members: %.1f deviations from the proportions", wname, kname, n, z)
				}
			}
		}
	}
}

func TestKeysOfALostMemberAreInProportionToTheWeightsOfTheRest(t *testing.T) {
	const lost = "enclave-3"
	v := routing.NewView(1, members(8, different)...)
	down := changed(v, lost, state(breaker.Degraded))
	strict, spill := routing.NewRendezvous(), routing.NewRendezvous(routing.WithSpill(7))
	counts := map[string]int{}
	for i := range 200_000 {
		key := fmt.Sprint("key-", i)
		if pick(t, strict, v, key) == lost {
			counts[pick(t, spill, down, key)]++
		}
	}
	var rest []routing.Member
	for _, m := range v.Members() {
		if m.ID != lost {
			rest = append(rest, m)
		}
	}
	if counts[lost] != 0 {
		t.Errorf("%d keys still go to %q", counts[lost], lost)
	}
	if z := chiSquare(counts, rest); z > tooFar || math.IsNaN(z) {
		t.Errorf("%.1f deviations from the proportions: %v", z, counts)
	}
}

func TestTheChiSquareTestSeesWrongProportions(t *testing.T) {
	ms := members(4, equal)
	if z := chiSquare(map[string]int{"enclave-0": 25300, "enclave-1": 24700, "enclave-2": 25300, "enclave-3": 24700}, ms); z < tooFar-1.5 {
		t.Errorf("1.2 %% more is only %.1f deviations", z)
	}
	if z := chiSquare(map[string]int{"enclave-0": 25100, "enclave-1": 24900, "enclave-2": 25050, "enclave-3": 24950}, ms); z > tooFar {
		t.Errorf("what chance does is %.1f deviations", z)
	}
}
