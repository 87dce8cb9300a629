package routing

import (
	"math/bits"

	"github.com/enclavepool/enclavepool/breaker"
)

// boundUnit is 1 as a load bound in integers; a power of two, so that every
// machine makes the same integer of a float64.
const boundUnit = 1 << 10

// admits tells whether m takes calls at present.
func (v *View) admits(m *Member) bool {
	return m.State == breaker.Healthy && (m.Capacity > 0 || v.capacity == 0)
}

// overBound tells whether one more call would put m over bound times its share
// of the calls in flight, rounded up: whether
//
//	in flight ≥ bound · (all in flight + 1) · capacity ÷ all capacity
//
// or whether it has no slot left. 128-bit products hold whatever there is: a
// Member's numbers are below 2³¹, a bound is at most 1000·2¹⁰.
func (v *View) overBound(m *Member, bound uint64) bool {
	capacity, all := uint64(m.Capacity), v.capacity
	if all == 0 {
		capacity, all = 1, uint64(v.healthy)
	} else if m.InFlight >= m.Capacity {
		return true
	}
	hi1, lo1 := bits.Mul64(uint64(m.InFlight)*boundUnit, all)
	hi2, lo2 := bits.Mul64(bound*capacity, v.inFlight+1)
	return hi1 > hi2 || hi1 == hi2 && lo1 >= lo2
}
