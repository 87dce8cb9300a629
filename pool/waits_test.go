package pool

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitBoundsGrowAndHaveThoseOfTheMetric(t *testing.T) {
	bounds := WaitBounds()
	if !slices.IsSorted(bounds) || bounds[0] != 0 {
		t.Errorf("bounds %v", bounds)
	}
	for _, ms := range acquireBuckets {
		if d := time.Duration(ms * float64(time.Millisecond)); !slices.Contains(bounds, d) {
			t.Errorf("%v is a bucket of pool_acquire_latency_ms and no bound", d)
		}
	}
	bounds[0] = 1
	if WaitBounds()[0] != 0 {
		t.Error("callers may change the bounds")
	}
}

func TestAWaitIsCountedUnderTheFirstBoundThatIsNotShorter(t *testing.T) {
	for i, bound := range waitBounds[1:] {
		for waited, want := range map[time.Duration]int{bound: i + 1, bound + 1: i + 2} {
			var tally waitTally
			tally.add(waited)
			if got := tally.counts(0); got[want] != 1 || got.Total() != 1 {
				t.Errorf("a wait of %v: %v, want it at %d", waited, got, want)
			}
		}
	}
	var tally waitTally
	tally.add(1)
	if got := tally.counts(10); got[1] != 1 || got[0] != 9 {
		t.Errorf("a wait of 1 ns among 10 callers: %v", got)
	}
	for range 4 {
		tally.add(time.Hour) // more than were served: they gave up
	}
	if got := tally.counts(3); got[0] != 0 || got[len(got)-1] != 4 {
		t.Errorf("5 waits, 3 served: %v", got)
	}
}

func TestQuantilesOfWaits(t *testing.T) {
	var w WaitCounts
	if got := w.Quantile(0.5); got != -1 {
		t.Errorf("of nobody: %d", got)
	}
	w[0], w[3], w[17] = 90, 9, 1
	for q, want := range map[float64]int{0: 0, 0.5: 0, 0.89: 0, 0.9: 3, 0.98: 3, 0.99: 17, 1: 17} {
		if got := w.Quantile(q); got != want {
			t.Errorf("at %v: %d, want %d", q, got, want)
		}
	}
	one := WaitCounts{4: 1}
	for _, q := range []float64{0, 0.5, 0.99, 1} {
		if got := one.Quantile(q); got != 4 {
			t.Errorf("of one, at %v: %d", q, got)
		}
	}
	if got := (WaitCounts{0: 5, 3: 2}).Since(WaitCounts{0: 7, 3: 1}); got != (WaitCounts{3: 1}) {
		t.Errorf("since: %v", got)
	}
	if got := (WaitCounts{0: 5, 3: 2}).Add(WaitCounts{0: 7, 4: 1}); got != (WaitCounts{0: 12, 3: 2, 4: 1}) {
		t.Errorf("sum: %v", got)
	}
}

func TestOnlyThoseWhoWaitAreCountedAndTheOthersWorkedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newBareEnclave(1)
		take := func() *Lease {
			l, err := e.acquire(context.Background(), untilBudget)
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		first := take()
		go func() {
			time.Sleep(3 * time.Millisecond)
			first.Release()
		}()
		take().Release()
		for range 8 {
			take().Release()
		}
		if got := e.stats().Waits; got != (WaitCounts{0: 9, 7: 1}) {
			t.Errorf("%v, want 9 who did not wait and 1 who did, up to %v", got, waitBounds[7])
		}
		if e.waits[0].Load() != 0 {
			t.Error("a wait of 0 was counted, which every caller would pay for")
		}
	})
}
