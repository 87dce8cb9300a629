package pool

import (
	"slices"
	"sync/atomic"
	"time"
)

// waitBounds are the upper bounds of WaitCounts, but for the last, which has
// none: no wait at all, the bounds of pool_acquire_latency_ms, and longer ones.
var waitBounds = [...]time.Duration{
	0, 50 * time.Microsecond, 100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second,
}

// WaitBounds returns the longest wait that each of WaitCounts counts, from 0 to
// 5 s; the last of WaitCounts, which has no bound, is not among them.
func WaitBounds() []time.Duration { return slices.Clone(waitBounds[:]) }

// WaitCounts counts callers by how long they waited for a slot or for a warm
// stream: the first those who did not wait, each further one those who waited
// longer than the bound before and no longer than its own (WaitBounds), the
// last all who waited longer.
type WaitCounts [len(waitBounds) + 1]uint64

// Since returns what was counted after earlier.
func (w WaitCounts) Since(earlier WaitCounts) WaitCounts {
	for i := range w {
		w[i] -= min(w[i], earlier[i])
	}
	return w
}

// Add returns both together.
func (w WaitCounts) Add(other WaitCounts) WaitCounts {
	for i := range w {
		w[i] += other[i]
	}
	return w
}

// Total returns how many callers there were.
func (w WaitCounts) Total() (n uint64) {
	for _, count := range w {
		n += count
	}
	return n
}

// Quantile returns which count the caller at q is in, of all by the length of
// their wait: with 0.99, 99 % waited no longer than the bound of that count. It
// is −1 when there were no callers.
func (w WaitCounts) Quantile(q float64) int {
	total := w.Total()
	if total == 0 {
		return -1
	}
	rank := min(uint64(q*float64(total)), total-1)
	var below uint64
	for i, count := range w {
		if below += count; rank < below {
			return i
		}
	}
	return len(w) - 1
}

// waitTally counts the waits of those who did wait. Those who did not are not
// counted here: that would cost every caller, and how many slots were given out
// is known anyway.
type waitTally [len(waitBounds) + 1]atomic.Uint64

func (t *waitTally) add(waited time.Duration) {
	i := 1
	for i < len(waitBounds) && waited > waitBounds[i] {
		i++
	}
	t[i].Add(1)
}

// counts returns what was counted, for so many callers in all. Those of them
// who gave up waiting are not in served, so while many do, those who did not
// wait come out a few short.
func (t *waitTally) counts(served uint64) (w WaitCounts) {
	var waited uint64
	for i := range t {
		w[i] = t[i].Load()
		waited += w[i]
	}
	w[0] = served - min(served, waited)
	return w
}
