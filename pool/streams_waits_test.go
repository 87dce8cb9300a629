package pool_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

func TestStatsCountsWaitsForWarmStreamsAndTheSlotsOfIdleOnes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHolding()
		ss, p, _ := warm(t, h.answer, slots(4), pool.WithMinStreams(2), pool.WithMaxStreams(2))
		synctest.Wait()
		if s := stats(p, "a"); s.IdleStreams != 2 || s.InFlight != 2 || s.Connections[0].IdleStreams != 2 {
			t.Fatalf("%d idle streams, %d in flight, by connection %+v; want 2", s.IdleStreams, s.InFlight, s.Connections)
		}
		before := stats(p, "a").Waits
		for range 7 {
			mustExchange(t, ss, "x")
		}
		first, second := goExchange(t.Context(), ss, "hold"), goExchange(t.Context(), ss, "hold")
		synctest.Wait()
		if s := stats(p, "a"); s.IdleStreams != 0 || s.InFlight != 2 {
			t.Errorf("%d idle streams, %d in flight; want 0, 2", s.IdleStreams, s.InFlight)
		}
		third := goExchange(t.Context(), ss, "x")
		time.Sleep(30 * time.Millisecond)
		close(h.hold)
		for _, done := range []<-chan result{first, second, third} {
			if r := <-done; r.err != nil {
				t.Error(r.err)
			}
		}
		got := stats(p, "a").Waits.Since(before)
		bounds := pool.WaitBounds()
		if got.Total() != 10 || got[0] != 9 {
			t.Errorf("%v, want 9 who did not wait and 1 who did", got)
		}
		if i := got.Quantile(1); i < 0 || bounds[i] != 50*time.Millisecond {
			t.Errorf("the longest wait is counted at %d, want up to 50ms", i)
		}
		// What a set has counted outlasts it.
		if err := ss.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if now := stats(p, "a").Waits.Since(before); now.Total() < 10 {
			t.Errorf("after Close %v", now)
		}
	})
}
