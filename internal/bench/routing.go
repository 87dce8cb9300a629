package main

import (
	"context"
	"fmt"
	"slices"
)

// routingKeys are as many as moves and shares are counted for, each as long as a UUID.
const routingKeys = 100_000

// routing measures choosing an enclave for a key beside other ways of hashing:
// the time it takes, how many keys move when an enclave leaves, and how evenly
// the enclaves share the keys.
func (p plan) routing(ctx context.Context) (Section, error) {
	keys := make([]string, routingKeys)
	for i := range keys {
		keys[i] = fmt.Sprintf("0b7a5e1c-52f1-4c1b-9c1e-%012x", i)
	}
	var rows []Row
	for _, n := range []int{8, 64, 1000} {
		of := fmt.Sprintf(" of %d", n)
		times, err := p.routingTimes(ctx, enclaveIDs(n), keys)
		if err != nil {
			return Section{}, err
		}
		for i, h := range hashings {
			rows = append(rows, result(h.name+", one"+of, "ns", times[i], times[0]).to(hashings[0].name))
		}
	}
	for _, n := range []int{8, 64} {
		of := fmt.Sprintf(" of %d", n)
		for _, h := range hashings {
			moved, uneven := keyShares(h, enclaveIDs(n), keys)
			rows = append(rows,
				Row{Name: h.name + ", keys that move when one leaves" + of, Value: 100 * moved, Unit: "%"},
				Row{Name: h.name + ", most ÷ mean keys" + of, Value: uneven})
		}
	}
	allocs, err := allocationRows(hashings[0].name, choosing(ctx, hashings[0].make(enclaveIDs(64)), keys), 10_000)
	if err != nil {
		return Section{}, err
	}
	return Section{Rows: append(rows, allocs...), Notes: []string{
		"goals for ours, weights equal or not: at most 60 ns of 8 enclaves, 200 ns of 64, 2000 ns of 1000; no allocation; no more keys move than the one that leaves had",
		fmt.Sprintf("%d keys of 36 bytes; the enclave that leaves is the middle one; where weights differ its share is its weight's, and so is the mean", routingKeys),
		"ketama: serialx/hashring with its default, 40 points for each enclave, MD5. jump: dgryski/go-jump, over a list of enclaves that closes up when one leaves",
		"unweighted rendezvous: dgryski/go-rendezvous. All but ketama hash the key with xxhash64",
	}}, nil
}

func enclaveIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("enclave-%d", i)
	}
	return ids
}

// choosing chooses for one key after the other.
func choosing(ctx context.Context, choose func(key string) string, keys []string) loop {
	return func(n int) error {
		for i := range n {
			if choose(keys[i%1024]) == "" {
				return fmt.Errorf("no enclave for %q", keys[i%1024])
			}
		}
		return ctx.Err()
	}
}

// routingTimes are in ns, by hashing and turn.
func (p plan) routingTimes(ctx context.Context, ids, keys []string) ([][]float64, error) {
	var turns []func() (float64, error)
	for _, h := range hashings {
		l := choosing(ctx, h.make(ids), keys)
		n, err := l.lasting(p.turn)
		if err != nil {
			return nil, err
		}
		turns = append(turns, func() (float64, error) { return l.timed(n) })
	}
	return inTurns(p.turns, turns...)
}

// keyShares returns the share of the keys that go elsewhere when the middle one
// of the enclaves leaves, and how many times its share the enclave has that has
// most.
func keyShares(h hashing, ids, keys []string) (moved, uneven float64) {
	leaver := len(ids) / 2
	all, rest := h.make(ids), h.make(slices.Concat(ids[:leaver], ids[leaver+1:]))
	had, elsewhere := map[string]int{}, 0
	for _, key := range keys {
		before := all(key)
		had[before]++
		if rest(key) != before {
			elsewhere++
		}
	}
	weights := 0
	for _, id := range ids {
		weights += h.weight(id)
	}
	for _, id := range ids {
		share := float64(len(keys)) * float64(h.weight(id)) / float64(weights)
		uneven = max(uneven, float64(had[id])/share)
	}
	return float64(elsewhere) / float64(len(keys)), uneven
}
