package routing_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/enclavepool/enclavepool/routing"
)

func TestKeptPlaceCostsNoAllocation(t *testing.T) {
	p := newPlaced(t, newDirectory(t))
	v := view("a", "b", "c")
	if _, err := p.Select(making, v, "k"); err != nil {
		t.Fatal(err)
	}
	before := p.Stats().Lookups
	if n := testing.AllocsPerRun(1000, func() { _, _ = p.Select(ctx, v, "k") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if p.Stats().Lookups != before {
		t.Error("the directory was asked")
	}
}

func TestCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaced(t, newDirectory(t), routing.WithCacheSize(100))
		for i := range 5000 {
			if _, err := p.Select(making, view("a"), fmt.Sprint("k", i)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // what is over goes in the background
		if n := p.Stats().Kept; n > 100 {
			t.Errorf("%d places are kept", n)
		}
		_ = p.Close() // always nil, and before the bubble ends
	})
}

func TestReadyIsToldWithoutWaitingToo(t *testing.T) {
	p := newPlaced(t, newDirectory(t))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for range 100 {
		if err := p.Ready(ended); err != nil {
			t.Fatal(err)
		}
	}
}
