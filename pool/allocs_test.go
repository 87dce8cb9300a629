package pool

import (
	"testing"
)

// What Acquire and Release allocate together is measured where metrics are.
func TestReservingAndReleasingASlotAllocatesNothing(t *testing.T) {
	e := bare32()
	measure := func(t *testing.T) {
		if n := testing.AllocsPerRun(1000, func() { e.release(e.reserve(nil).conn) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
	t.Run("when idle", measure)
	for range 32*100 - 1 {
		if e.reserve(nil).conn == nil {
			t.Fatal("no slot")
		}
	}
	t.Run("with one slot of 3200 free", measure)
}
