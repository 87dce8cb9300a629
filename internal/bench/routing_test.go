package main

import (
	"math"
	"testing"
)

// Keys by the length of their names.
func TestMovesAndSharesAreThoseOfTheHashing(t *testing.T) {
	h := hashing{"by length", alike, func(ids []string) func(string) string {
		return func(key string) string { return ids[len(key)%len(ids)] }
	}}
	// Of 4: b, c, d, a, b. Without c: b, d, a, b, d. All but the first move, and b has 2, of 5/4 each.
	moved, uneven := keyShares(h, []string{"a", "b", "c", "d"}, []string{"1", "22", "333", "4444", "55555"})
	if math.Abs(moved-4.0/5) > 1e-9 || math.Abs(uneven-2*4.0/5) > 1e-9 {
		t.Errorf("moved %v, uneven %v; want 0.8, 1.6", moved, uneven)
	}
}

func TestRendezvousMovesOnlyTheKeysOfTheOneThatLeaves(t *testing.T) {
	keys := enclaveIDs(10_000)
	ids := enclaveIDs(8)
	for _, h := range hashings[:2] {
		choose, had := h.make(ids), 0
		for _, key := range keys {
			if choose(key) == ids[4] {
				had++
			}
		}
		if moved, _ := keyShares(h, ids, keys); moved != float64(had)/float64(len(keys)) {
			t.Errorf("%s: %v of the keys move; the one that leaves had %d of %d", h.name, moved, had, len(keys))
		}
	}
}
