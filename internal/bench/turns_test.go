package main

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestEachRoundBeginsWithAnotherContender(t *testing.T) {
	var order []int
	note := func(i int) func() (float64, error) {
		return func() (float64, error) { order = append(order, i); return float64(i), nil }
	}
	results, err := inTurns(3, note(0), note(1))
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{0, 1, 1, 0, 0, 1}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if !slices.Equal(results[0], []float64{0, 0, 0}) || !slices.Equal(results[1], []float64{1, 1, 1}) {
		t.Errorf("results %v", results)
	}
}

func TestTheFirstErrorEndsTheTurns(t *testing.T) {
	broken, calls := errors.New("broken"), 0
	_, err := inTurns(5, func() (float64, error) { calls++; return 0, broken })
	if !errors.Is(err, broken) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestQuantilesAreValuesThatWereMeasured(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.25: 2, 0.5: 3, 0.75: 4, 1: 5} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %v = %v, want %v", q, got, want)
		}
	}
	if values[0] != 5 {
		t.Error("quantile sorted its argument")
	}
}

func TestTheRatioIsTheMedianOfTheRoundsNotTheRatioOfTheMedians(t *testing.T) {
	// The machine is ten times slower in the last two rounds.
	r := result("x", "ns", []float64{2, 2, 20, 30}, []float64{1, 1, 10, 10})
	if r.Ratio != 2 || r.High != 2 && r.High != 3 {
		t.Errorf("ratio %v (%v–%v), want 2", r.Ratio, r.Low, r.High)
	}
}

func TestARoundWithoutABaseHasNoRatio(t *testing.T) {
	if r := result("x", "µs", []float64{1, 6}, []float64{0, 2}); r.Ratio != 3 {
		t.Errorf("ratio %v, want 3", r.Ratio)
	}
	if r := result("x", "µs", []float64{1}, []float64{0}); r.Ratio != 0 || r.Value != 1 {
		t.Errorf("%+v, want no ratio", r)
	}
}

func TestALoopIsSpreadOverItsGoroutines(t *testing.T) {
	var ran, goroutines atomic.Int64
	broken := errors.New("broken")
	l := loop(func(n int) error {
		ran.Add(int64(n))
		if goroutines.Add(1) == 3 {
			return broken
		}
		return nil
	})
	if err := l.spread(16)(160); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the third goroutine", err)
	}
	if ran.Load() != 160 || goroutines.Load() != 16 {
		t.Errorf("%d operations in %d goroutines", ran.Load(), goroutines.Load())
	}
}

func TestATurnIsAsLongAsItIsToBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // sleeping takes no time here
		l := loop(func(n int) error { time.Sleep(time.Duration(n) * time.Microsecond); return nil })
		if n, err := l.lasting(time.Millisecond); n != 1000 || err != nil {
			t.Errorf("%d operations of 1µs last 1ms (%v)", n, err)
		}
		if took, err := l.timed(10); took != 1000 || err != nil {
			t.Errorf("one takes %v ns (%v)", took, err)
		}
	})
	broken := errors.New("broken")
	if _, err := loop(func(int) error { return broken }).lasting(time.Second); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestACrowdReportsWhyOneFailed(t *testing.T) {
	broken, failed := errors.New("broken"), make(chan struct{})
	var once sync.Once
	c := startCrowd(3, func(int) error { once.Do(func() { close(failed) }); return broken })
	<-failed
	if _, _, err := c.stop(); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestACrowdCountsForEachOfItsGoroutines(t *testing.T) {
	var ran atomic.Int64
	enough := make(chan struct{})
	c := startCrowd(4, func(int) error {
		if ran.Add(1) == 100 {
			close(enough)
		}
		return nil
	})
	<-enough
	nsPerOp, unfair, err := c.stop()
	total := 0
	for _, n := range c.served {
		total += n
	}
	if int64(total) != ran.Load() || nsPerOp <= 0 || unfair < 1 || err != nil {
		t.Errorf("%d counted of %d, %v ns each, most ÷ least %v, %v", total, ran.Load(), nsPerOp, unfair, err)
	}
}

func TestAllocationsAreCountedPerOperation(t *testing.T) {
	var sink *[64]byte
	objects, bytes, err := allocations(func(n int) error {
		for i := range n {
			if i%4 == 0 {
				sink = new([64]byte)
			}
		}
		return nil
	}, 400)
	if objects != 0.25 || bytes != 16 || err != nil || sink == nil {
		t.Errorf("%v objects, %v bytes (%v); want 0.25, 16", objects, bytes, err)
	}
	broken := errors.New("broken")
	if _, err := allocationRows("x", func(int) error { return broken }, 1); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}
