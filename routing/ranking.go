package routing

import (
	"cmp"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// ranking is what rendezvous hashing needs of a View, made ready beforehand. It
// depends on the IDs and weights alone. The slices are in step: heaviest first,
// then by ID.
//
// Rendezvous hashing: Thaler and Ravishankar, "Using Name-Based Mappings to
// Increase Hit Rates", IEEE/ACM Transactions on Networking 6(1), 1998. Each
// member gets, for each key, a number u that looks random: here
//
//	u = mix(xxhash64(key) ^ seed)   where seed = mix(xxhash64(ID) + golden)
//
// Weights: the logarithmic method of Schindelhauer and Schomaker, "Weighted
// Distributed Hash Tables", SPAA 2005. Where u is uniform, −log u is
// exponentially distributed, and −log(u)/w so with rate w; the least of several
// exponential variables is the i-th with probability wᵢ/Σw. So a key's order of
// the members is by
//
//	−log2(u)/w rising, then u falling, then as in the slices
//
// which is a total order, and of which each comparison uses nothing but the two
// members that are compared. Hence the others keep their places, exactly,
// when a member comes, goes or changes its weight.
type ranking struct {
	seeds   []uint64
	weights []uint64
	members []int32          // indices into the View's members
	byID    map[string]int32 // likewise
}

// golden is 2⁶⁴ divided by the golden ratio, SplitMix64's increment. It keeps
// apart the hashes of IDs and of keys, which might be the same strings.
const golden = 0x9e3779b97f4a7c15

func seedOf(id string) uint64 { return mix(xxhash.Sum64String(id) + golden) }

func newRanking(members []Member) *ranking {
	r := &ranking{
		seeds:   make([]uint64, len(members)),
		weights: make([]uint64, len(members)),
		members: make([]int32, len(members)),
		byID:    make(map[string]int32, len(members)),
	}
	for i, m := range members {
		r.members[i] = int32(i)
		r.byID[m.ID] = int32(i)
	}
	slices.SortStableFunc(r.members, func(i, j int32) int { // stable: by ID within a weight
		return cmp.Compare(members[j].Weight, members[i].Weight)
	})
	for place, i := range r.members {
		r.seeds[place] = seedOf(members[i].ID)
		r.weights[place] = uint64(members[i].Weight)
	}
	return r
}

// first returns the place (in the slices) of the first member in the order of
// the key with that hash, leaving out the places in skip; -1 where none is left.
//
// Most members are passed over without a logarithm. Whoever is looked at has no
// more weight than those before it, so if its u is no higher than that of any of
// them, it comes after that one: −log2(u) does not rise with u, thus
// −log2(u)/w is no less, and where it is equal, u and the place decide, in favour
// of the one before. So only a u above all those before is looked at closely,
// which for n members happens about ln n times; and if its weight is that of the
// first so far, it wins without a logarithm as well.
func (r *ranking) first(key uint64, skip []int32) int {
	best, bar := -1, uint64(0)
	var u, w, cost uint64 // of the best; cost 0: not yet computed, or 0 indeed
	for i, seed := range r.seeds {
		drawn := mix(key ^ seed)
		if drawn <= bar && best >= 0 {
			continue
		}
		if len(skip) != 0 && slices.Contains(skip, int32(i)) {
			continue
		}
		bar = drawn
		weight, its := r.weights[i], uint64(0)
		if best >= 0 && weight != w {
			if cost == 0 {
				cost = negLog2(u)
			}
			its = negLog2(drawn)
			if !noLater(its, weight, cost, w) {
				continue
			}
		}
		best, u, w, cost = i, drawn, weight, its
	}
	return best
}
