package pool

import (
	"testing"

	"pgregory.net/rapid"
)

func TestGrowthIsAskedForBeforeTheLastSlotIsTaken(t *testing.T) {
	for name, c := range map[string]struct {
		l    load
		want int
	}{
		"idle":                         {load{conns: 16, minConns: 16, maxConns: 32, capacity: 1600}, 0},
		"three quarters taken":         {load{conns: 16, minConns: 16, maxConns: 32, inFlight: 1200, capacity: 1600}, 0},
		"more than that":               {load{conns: 16, minConns: 16, maxConns: 32, inFlight: 1201, capacity: 1600}, 4},
		"callers queue":                {load{conns: 16, minConns: 16, maxConns: 32, inFlight: 1, capacity: 1600, waiters: 1}, 4},
		"near the maximum":             {load{conns: 31, minConns: 16, maxConns: 32, inFlight: 3100, capacity: 3100}, 1},
		"at the maximum":               {load{conns: 32, minConns: 16, maxConns: 32, inFlight: 3200, capacity: 3200, waiters: 9}, 0},
		"one connection":               {load{conns: 1, minConns: 1, maxConns: 4, inFlight: 1, capacity: 1}, 1},
		"lost, so there is no slot":    {load{conns: 16, minConns: 16, maxConns: 32, waiters: 100}, 0},
		"lowered limit, more in use":   {load{conns: 16, minConns: 16, maxConns: 32, inFlight: 500, capacity: 16}, 4},
		"resized below what there was": {load{conns: 16, minConns: 1, maxConns: 8, inFlight: 16, capacity: 16}, 0},
	} {
		if got := c.l.growth(); got != c.want {
			t.Errorf("%s: growth of %+v = %d, want %d", name, c.l, got, c.want)
		}
	}
}

func TestSurplusIsWhatHalfTheSlotsWouldDoWithout(t *testing.T) {
	for name, c := range map[string]struct {
		l    load
		want bool
	}{
		"idle above the minimum":   {load{conns: 17, minConns: 16, maxConns: 32, capacity: 1700}, true},
		"idle at the minimum":      {load{conns: 16, minConns: 16, maxConns: 32, capacity: 1600}, false},
		"just under half the rest": {load{conns: 17, minConns: 16, maxConns: 32, inFlight: 799, capacity: 1700}, true},
		"half the rest":            {load{conns: 17, minConns: 16, maxConns: 32, inFlight: 800, capacity: 1700}, false},
		"callers queue":            {load{conns: 17, minConns: 16, maxConns: 32, capacity: 1700, waiters: 1}, false},
		"lost":                     {load{conns: 17, minConns: 16, maxConns: 32}, false},
	} {
		if got := c.l.surplus(); got != c.want {
			t.Errorf("%s: surplus of %+v = %v, want %v", name, c.l, got, c.want)
		}
	}
}

func TestNoLoadAsksForGrowthAndShrinkingAtOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		conns := rapid.IntRange(1, 64).Draw(t, "conns")
		limit := rapid.IntRange(1, 200).Draw(t, "limit")
		l := load{
			conns: conns, minConns: rapid.IntRange(1, conns).Draw(t, "min"), maxConns: rapid.IntRange(conns, 64).Draw(t, "max"),
			capacity: conns * limit, inFlight: rapid.IntRange(0, conns*limit).Draw(t, "in flight"),
			waiters: rapid.IntRange(0, 3).Draw(t, "waiters"),
		}
		n := l.growth()
		if n < 0 || l.conns+n > l.maxConns {
			t.Fatalf("growth of %+v = %d", l, n)
		}
		if n > 0 && l.surplus() {
			t.Fatalf("%+v grows and shrinks", l)
		}
		// Having grown, or shrunk, it does not want to go back at the same load.
		if n > 0 && l.waiters == 0 {
			after := l
			after.conns, after.capacity = l.conns+n, (l.conns+n)*limit
			if after.surplus() {
				t.Fatalf("%+v grows by %d and then shrinks", l, n)
			}
		}
		if l.surplus() {
			after := l
			after.conns, after.capacity = l.conns-1, (l.conns-1)*limit
			if after.growth() > 0 {
				t.Fatalf("%+v shrinks and then grows", l)
			}
		}
	})
}
