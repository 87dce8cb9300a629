package routing_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/memdir"
	"github.com/enclavepool/enclavepool/routing/routingtest"
)

// cutOff runs a test with a Placed whose directory can be cut off; "old" is placed
// in a and kept.
func cutOff(t *testing.T, test func(t *testing.T, d *memdir.Directory, o *routingtest.Outage, p *routing.Placed), opts ...routing.PlacedOption) {
	synctest.Test(t, func(t *testing.T) {
		d := memdir.New(memdir.WithHistory(8))
		o := routingtest.NewOutage(d)
		p := newPlaced(t, o, opts...)
		mustSelect(t, making, p, view("a"), "old", "a")
		test(t, d, o, p)
		o.Back()
		_ = p.Close() // always nil
		_ = d.Close() // the same
	})
}

var both = view("a", "b")

func unavailable(t *testing.T, err error) {
	t.Helper()
	var away *routing.DirectoryError
	if !errors.Is(err, routing.ErrDirectoryUnavailable) || !errors.As(err, &away) || away.RetryAfter <= 0 {
		t.Errorf("%v; want a *DirectoryError with a wait", err)
	}
}

func TestKeptKeysAreServedWhileTheDirectoryIsAway(t *testing.T) {
	for name, cut := range map[string]func(*routingtest.Outage){"away": (*routingtest.Outage).Away, "hang": (*routingtest.Outage).Hang} {
		t.Run(name, func(t *testing.T) {
			cutOff(t, func(t *testing.T, d *memdir.Directory, o *routingtest.Outage, p *routing.Placed) {
				cut(o)
				time.Sleep(time.Minute)
				if s := p.Stats().State; s != routing.PlacedStale {
					t.Errorf("state %v", s)
				}
				before := p.Stats()
				mustSelect(t, ctx, p, both, "old", "a")
				mustSelect(t, making, p, both, "old", "a")
				if after := p.Stats(); after.StaleHits != before.StaleHits+2 || after.Lookups != before.Lookups {
					t.Errorf("%+v after %+v", after, before)
				}
				// Others are refused: the first may wait for its time-out, the rest not.
				_, err := p.Select(ctx, both, "unknown")
				unavailable(t, err)
				began := time.Now()
				for range 100 {
					_, err := p.Select(ctx, both, "unknown")
					unavailable(t, err)
					_, err = p.Select(making, both, "new")
					unavailable(t, err)
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("refusing took %v", took)
				}
				// And it heals by itself.
				o.Back()
				time.Sleep(time.Second)
				if s := p.Stats().State; s != routing.PlacedCurrent {
					t.Errorf("state %v", s)
				}
				if _, err := p.Select(ctx, both, "unknown"); !errors.Is(err, routing.ErrNotPlaced) {
					t.Error(err)
				}
				if _, err := p.Select(making, both, "new"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestOneCallInEachWaitLooksWhetherTheDirectoryIsBack(t *testing.T) {
	cutOff(t, func(t *testing.T, d *memdir.Directory, o *routingtest.Outage, p *routing.Placed) {
		o.Hang()
		began := time.Now()
		var wg sync.WaitGroup
		slow := make(chan time.Duration, 1000)
		for i := range 1000 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				asked := time.Now()
				_, err := p.Select(ctx, both, fmt.Sprint("unknown", i))
				unavailable(t, err)
				if took := time.Since(asked); took > 0 {
					slow <- took
				}
			})
		}
		wg.Wait()
		close(slow)
		// All that come before the first has timed out wait as well; then one every 200 ms.
		n := len(slow)
		if least, most := 200, 200+int(time.Since(began)/(200*time.Millisecond)); n < least || n > most {
			t.Errorf("%d of 1000 calls waited; want %d to %d", n, least, most)
		}
		for took := range slow {
			if took > 2*time.Second {
				t.Errorf("one waited %v", took)
			}
		}
	})
}

func TestCallersWithLittleTimeDoNotAllWait(t *testing.T) {
	cutOff(t, func(t *testing.T, d *memdir.Directory, o *routingtest.Outage, p *routing.Placed) {
		waited := func() (n int) {
			for i := range 100 {
				ctx, cancel := context.WithTimeout(making, 100*time.Millisecond)
				began := time.Now()
				if _, err := p.Select(ctx, both, fmt.Sprint("new", i)); err == nil {
					t.Error("it was placed")
				}
				if time.Since(began) > 0 {
					n++
				}
				cancel()
			}
			return n
		}
		o.Hang()
		time.Sleep(4 * time.Second) // until the watch is known to be broken
		if n := waited(); n != 1 {
			t.Errorf("%d of 100 waited; want the one that found out", n)
		}
	})
}

func TestMoveDuringAnOutageIsSeenAfterIt(t *testing.T) {
	for name, changes := range map[string]int{"changes are replayed": 0, "changes are forgotten": 20} {
		t.Run(name, func(t *testing.T) {
			cutOff(t, func(t *testing.T, d *memdir.Directory, o *routingtest.Outage, p *routing.Placed) {
				o.Away()
				synctest.Wait()
				at, err := d.Lookup(ctx, "old")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := d.Move(ctx, at, "b"); err != nil {
					t.Fatal(err)
				}
				for i := range changes {
					if _, _, err := d.Place(ctx, fmt.Sprint("k", i), "b"); err != nil {
						t.Fatal(err)
					}
				}
				mustSelect(t, ctx, p, both, "old", "a") // as it was
				resets := p.Stats().Resets
				o.Back()
				time.Sleep(time.Second)
				mustSelect(t, ctx, p, both, "old", "b")
				if reset := p.Stats().Resets > resets; reset != (changes > 0) {
					t.Errorf("was reset: %v", reset)
				}
			})
		})
	}
}

func TestStalePlacesAreServedNoLongerThanAllowed(t *testing.T) {
	var mu sync.Mutex
	var told []routing.PlacedState
	notify := func(s routing.PlacedState) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, s)
		panic("somebody else's")
	}
	cutOff(t, func(t *testing.T, d *memdir.Directory, o *routingtest.Outage, p *routing.Placed) {
		synctest.Wait() // else the latest may be told before the first
		o.Away()
		time.Sleep(59 * time.Minute)
		mustSelect(t, ctx, p, both, "old", "a")
		time.Sleep(2 * time.Minute)
		_, err := p.Select(ctx, both, "old")
		unavailable(t, err)
		o.Back()
		time.Sleep(time.Second)
		mustSelect(t, ctx, p, both, "old", "a")
		// The time begins anew with each loss.
		o.Away()
		time.Sleep(59 * time.Minute)
		mustSelect(t, ctx, p, both, "old", "a")
	}, routing.WithMaxStale(time.Hour), routing.WithNotify(notify))
	want := []routing.PlacedState{routing.PlacedCurrent, routing.PlacedStale, routing.PlacedExpired, routing.PlacedCurrent, routing.PlacedStale}
	if mu.Lock(); !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	mu.Unlock()
}

func TestMirrorServesKeysThatItNeverSaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		for i := range 12_000 { // several pages
			if _, _, err := d.Place(ctx, fmt.Sprint("k", i), "a"); err != nil {
				t.Fatal(err)
			}
		}
		o := routingtest.NewOutage(d)
		p := newPlaced(t, o, routing.WithMirror())
		if _, _, err := d.Place(ctx, "later", "b"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		o.Away()
		for i := range 12_000 {
			mustSelect(t, ctx, p, both, fmt.Sprint("k", i), "a")
		}
		mustSelect(t, ctx, p, both, "later", "b")
		if n := p.Stats().Lookups; n != 0 {
			t.Errorf("%d lookups", n)
		}
		_ = p.Close() // always nil, and before the bubble ends
	})
}

func TestClosedPlacedSaysSo(t *testing.T) {
	d := newDirectory(t)
	p := newPlaced(t, d)
	_ = p.Close() // always nil
	_ = p.Close() // the same
	if _, err := p.Select(ctx, both, "k"); !errors.Is(err, routing.ErrDirectoryClosed) {
		t.Error(err)
	}
	if _, err := p.Select(making, both, "k"); !errors.Is(err, routing.ErrDirectoryClosed) {
		t.Error(err)
	}
}
