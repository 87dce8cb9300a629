package routing

import "math/bits"

// mix spreads x over all 64 bits and is one to one: SplitMix64's output
// function (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
// Generators", OOPSLA 2014), whose constants are David Stafford's variant 13 of
// MurmurHash3's finalizer.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const (
	fractionBits = 57 // of a logarithm: the largest there is, 64, still fits into 64 bits
	segments     = 128
	offsetBits   = 63 - 7 // of a place within one of the segments
	extraBits    = 12     // more of a slope than of a logarithm; see negLog2
)

// negLog2 returns −log2(u/2⁶⁴) with 57 bits after the point, 0 being taken for
// 1. Two properties count:
//
// It never rises with u (see fraction), so that where the weights are equal the
// larger u wins without a logarithm.
//
// It is off by less than 3 parts in a million (TestTheLogarithmIsPrecise), so
// that shares of keys are in proportion to the weights but for 6 in a million.
func negLog2(u uint64) uint64 {
	u = max(u, 1)
	zeros := bits.LeadingZeros64(u)
	return uint64(zeros+1)<<fractionBits - fraction(u<<zeros)
}

// fraction returns log2(x/2⁶³) for an x whose highest bit is set. Between two
// entries of the table that are two apart it is the parabola through them and
// the one in the middle: with t from 0 to T = 2⁵⁶ the way from the first to the
// last, whose values differ by d, and m the difference to the one in the middle,
//
//	(t/T)·(d + (1−t/T)·c)   where c = 4m − 2d
//
// It never falls with x, not even by its rounding. Let B = d·2¹² and
// g(t) = ⌊(T−t)·(c·2¹²)/T⌋; c·2¹² < T, so g falls by 1 at most when t grows by
// 1. What is computed is ⌊f/2⁶⁸⌋ with f(t) = t·(B+g(t)), and
//
//	f(t+1) − f(t)  ≥  (t+1)·(B+g(t)−1) − t·(B+g(t))  =  B + g(t) − (t+1)  ≥  0
//
// since B > 2⁶² > T. At t = T it is d exactly, where the next parabola begins.
func fraction(x uint64) uint64 {
	i := x << 1 >> (1 + offsetBits) // without the highest bit
	t := x & (1<<offsetBits - 1)    // from 0 to below 2⁵⁶
	from := log2Table[2*i : 2*i+3]  // the parabola's three points
	d, m := from[2]-from[0], from[1]-from[0]
	hi, lo := bits.Mul64(1<<offsetBits-t, (4*m-2*d)<<extraBits)
	g := hi<<(64-offsetBits) | lo>>offsetBits
	hi, _ = bits.Mul64(t, d<<extraBits+g)
	return from[0] + hi>>(offsetBits+extraBits-64)
}

// noLater tells whether a/v ≤ b/w, exactly.
func noLater(a, v, b, w uint64) bool {
	hi1, lo1 := bits.Mul64(a, w)
	hi2, lo2 := bits.Mul64(b, v)
	return hi1 < hi2 || hi1 == hi2 && lo1 <= lo2
}
