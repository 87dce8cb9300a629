package routing

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func TestTheTableHoldsTheLogarithms(t *testing.T) {
	for i := range log2Table {
		// Bit by bit: squaring doubles the logarithm; what reaches 2 has the next bit.
		x := new(big.Float).SetPrec(256).Quo(big.NewFloat(float64(256+i)), big.NewFloat(256))
		two, want := big.NewFloat(2), uint64(0)
		if x.Cmp(two) == 0 {
			want = 1 << fractionBits
		} else {
			for range fractionBits {
				x.Mul(x, x)
				want <<= 1
				if x.Cmp(two) >= 0 {
					want |= 1
					x.Quo(x, two)
				}
			}
		}
		if log2Table[i] != want {
			t.Errorf("log2Table[%d] = %#x, want %#x", i, log2Table[i], want)
		}
	}
}

// edges are the numbers at which the formula changes, and their neighbours.
func edges() []uint64 {
	var us []uint64
	for zeros := range 64 {
		for i := range uint64(segments) {
			u := (segments + i) << (63 - 7) >> zeros
			us = append(us, u-1, u, u+1)
		}
	}
	return append(us, 0, 1, 2, 3, math.MaxUint64-1, math.MaxUint64)
}

func TestTheLogarithmNeverRises(t *testing.T) {
	neighbours := func(u uint64) {
		if u < math.MaxUint64 && negLog2(u) < negLog2(u+1) {
			t.Errorf("negLog2(%#x) = %d, and of one more it is %d", u, negLog2(u), negLog2(u+1))
		}
	}
	for _, u := range edges() {
		neighbours(u)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 1_000_000 {
		neighbours(r.Uint64() >> r.IntN(64))
	}
	rapid.Check(t, func(t *rapid.T) {
		u, v := rapid.Uint64().Draw(t, "u"), rapid.Uint64().Draw(t, "v")
		if (u < v) && negLog2(u) < negLog2(v) {
			t.Errorf("negLog2(%#x) = %d, and of %#x it is %d", u, negLog2(u), v, negLog2(v))
		}
	})
}

func TestTheLogarithmIsPrecise(t *testing.T) {
	worst := 0.0
	check := func(u uint64) {
		if u > math.MaxUint64-1<<40 || u == 0 { // so near to 1 what counts is the last bit of the result
			return
		}
		want := 64 - math.Log2(float64(u))
		if u >= 1<<63 {
			want = -math.Log1p(-math.Ldexp(float64(-u), -64)) / math.Ln2
		}
		off := math.Abs(math.Ldexp(float64(negLog2(u)), -fractionBits)/want - 1)
		worst = max(worst, off)
	}
	for _, u := range edges() {
		check(u)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 1_000_000 {
		u := r.Uint64()
		check(u)
		check(-(u >> r.IntN(24))) // near to 1, where owners are
	}
	if worst > 3e-6 || worst < 1e-6 {
		t.Errorf("off by %.3g at worst; the documentation says 3e-6", worst)
	}
}

func TestTheLogarithmOfTheLowestAndTheHighest(t *testing.T) {
	if got := negLog2(0); got != 64<<fractionBits || got != negLog2(1) {
		t.Errorf("negLog2(0) = %d, negLog2(1) = %d; want 64", got, negLog2(1))
	}
	if got := negLog2(1 << 63); got != 1<<fractionBits {
		t.Errorf("negLog2(1/2) = %d, want 1", got)
	}
	if got := negLog2(math.MaxUint64); got > 1 {
		t.Errorf("negLog2 of just below 1 is %d, want 0 or 1", got)
	}
}

func TestQuotientsAreComparedExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Uint64().Draw(t, "a"), rapid.Uint64().Draw(t, "b")
		v, w := rapid.Uint64Min(1).Draw(t, "v"), rapid.Uint64Min(1).Draw(t, "w")
		rat := func(n, d uint64) *big.Rat {
			return new(big.Rat).SetFrac(new(big.Int).SetUint64(n), new(big.Int).SetUint64(d))
		}
		if got, want := noLater(a, v, b, w), rat(a, v).Cmp(rat(b, w)) <= 0; got != want {
			t.Errorf("noLater(%d, %d, %d, %d) = %v", a, v, b, w, got)
		}
	})
}
