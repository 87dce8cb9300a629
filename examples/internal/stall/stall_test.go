package stall

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAProcessThatRunsHasNoStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := Start()
		time.Sleep(time.Minute)
		w.Stop()
		if got := w.Stalls(); len(got) > 0 {
			t.Errorf("%v", got)
		}
	})
}

func TestStallsOverlapTheTimesTheyShareAMomentWith(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	stalls := []Stall{{at(100), at(200)}}
	for _, c := range []struct {
		from, to int
		want     bool
	}{{0, 100, false}, {0, 101, true}, {120, 130, true}, {199, 300, true}, {200, 300, false}, {0, 300, true}} {
		if got := Within(stalls, at(c.from), at(c.to)); got != c.want {
			t.Errorf("%d to %d: %v, want %v", c.from, c.to, got, c.want)
		}
		sum, longest := Sum(stalls, at(c.from), at(c.to))
		if c.want != (sum > 0) || c.want != (longest == 100*time.Millisecond) {
			t.Errorf("%d to %d: %v, %v at the longest", c.from, c.to, sum, longest)
		}
	}
	if sum, _ := Sum(stalls, at(150), at(300)); sum != 50*time.Millisecond {
		t.Errorf("%v of the second half of it", sum)
	}
}
