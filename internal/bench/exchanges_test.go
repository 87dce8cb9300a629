package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestACrowdStopsAtTheFirstFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := echoed(digest(1), digest(2))
		if bad == nil {
			t.Fatal("somebody else's digest was taken for the own one")
		}
		good := func(ctx context.Context) error { time.Sleep(time.Millisecond); return ctx.Err() }
		c := crowdPlan{callers: 3, turn: time.Hour}
		start := time.Now()
		_, err := c.exchange(t.Context(), []exchanger{good, func(context.Context) error { return bad }, good}, make([][]float64, 3))
		if !errors.Is(err, bad) || time.Since(start) > time.Second {
			t.Errorf("error %v after %v, want %v at once", err, time.Since(start), bad)
		}
	})
}

func TestAServerProcessTellsItsCPUTime(t *testing.T) {
	for _, role := range []string{"server", "raw"} {
		s, err := startRole(t.Context(), role)
		if err != nil {
			t.Fatal(err)
		}
		defer s.stop()
		first, err := s.cpuTime()
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.cpuTime()
		if err != nil || second < first || cpuTime() > 0 && first <= 0 {
			t.Errorf("%s: %v, then %v (%v)", role, first, second, err)
		}
	}
}
