package pool

import (
	"math"
	"sync"
	"testing"
)

// Goroutines race for the leases of one connection, over many chunks and past
// the end of the serials.
func TestEverySlotHasALeaseOfItsOwn(t *testing.T) {
	const callers, each = 8, 2000
	e := newBareEnclave(maxStreams)
	c := (*e.admitted.Load())[0]
	c.slots.word.Add((math.MaxUint32 - callers*each/2) << 32)
	var got [callers][]*Lease
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range each {
				l, err := e.lease(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				got[i] = append(got[i], l)
			}
		})
	}
	wg.Wait()
	held := map[*Lease]bool{}
	for i := range callers {
		for _, l := range got[i] {
			if held[l] || l.conn.Load() != c || l.state.Load() != 0 {
				t.Fatalf("a lease was given out twice, or is not as new: conn %p, state %d", l.conn.Load(), l.state.Load())
			}
			held[l] = true
		}
	}
	if used, _ := c.slots.load(); int(used) != len(held) {
		t.Fatalf("%d slots in use with %d leases out", used, len(held))
	}
	for l := range held {
		l.Release()
		l.Release()
	}
	if n := e.inFlight(); n != 0 {
		t.Errorf("%d in flight at the end", n)
	}
}
