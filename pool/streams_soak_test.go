package pool_test

import (
	"context"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// An hour of churn: connections and streams are lost, ended, cancelled, resized
// and drained all the time. In the end there are as many goroutines, streams
// and connections as after the first minutes, and no slot is missing.
func TestAnHourOfChurnLeavesNothingBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex // guards rng
		chance := func(n int) bool {
			mu.Lock()
			defer mu.Unlock()
			return rng.IntN(n) == 0
		}
		ss, p, e := warm(t, func(ctx context.Context, req []byte) ([]byte, error) {
			switch {
			case chance(10):
				return nil, io.EOF
			case chance(10): // later than the caller waits
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return req, nil
		}, nil, pool.WithMinStreams(4), pool.WithMaxStreams(12), pool.WithMaxExchanges(50), pool.WithIdempotent())

		stop := make(chan struct{})
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(4 * time.Second):
					}
					ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
					_, _ = ss.Exchange(ctx, "a", value("x")) // what becomes of it is other tests' business
					cancel()
				}
			})
		}
		// A calm moment: nothing is in flight, everything has settled.
		goroutines := func() int {
			time.Sleep(90 * time.Second)
			synctest.Wait()
			return runtime.NumGoroutine()
		}
		churn := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(3 * time.Second) {
				mu.Lock()
				n := rng.IntN(10)
				mu.Unlock()
				switch n {
				case 0, 1, 2:
					e.DropConns(1)
				case 3:
					e.DropConns(10)
				case 4:
					_ = p.Resize("a", 1, 4)
					_ = p.Resize("a", 2, 4)
				case 5:
					_ = p.Drain(within(t, time.Second), "a")
					_ = p.Resume("a")
				case 6:
					e.GracefulStop()
					e.Restart()
				case 7:
					e.Restart()
				}
			}
		}
		churn(5 * time.Minute)
		before := goroutines()
		churn(50 * time.Minute)
		after := goroutines()
		if after > before+20 {
			t.Errorf("%d goroutines after 5 minutes, %d after an hour", before, after)
		}
		if s := warmStats(ss); s.Open > 12 || s.Opened-s.Retired != uint64(s.Open) || s.Retired < 500 {
			t.Errorf("%+v", s)
		}
		close(stop)
		callers.Wait()
		synctest.Wait()
		if s, open := stats(p, "a"), warmStats(ss).Open; s.InFlight != open {
			t.Errorf("%d slots in use, %d streams open", s.InFlight, open)
		}
		if err := ss.Close(within(t, time.Second)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if s := stats(p, "a"); s.InFlight != 0 {
			t.Errorf("in the end %d slots are in use", s.InFlight)
		}
	})
}
