package breaker_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/enclavepool/enclavepool/breaker"
)

// The whole state machine, a row for each pair.
var transitions = []struct {
	from breaker.State
	sig  breaker.Signal
	to   breaker.State
}{
	{breaker.Healthy, breaker.Admitted, breaker.Healthy},
	{breaker.Healthy, breaker.Restored, breaker.Healthy},
	{breaker.Healthy, breaker.Lost, breaker.Degraded},
	{breaker.Healthy, breaker.Ejected, breaker.Degraded},
	{breaker.Healthy, breaker.Suspended, breaker.Degraded},
	{breaker.Healthy, breaker.Retired, breaker.Draining},
	{breaker.Healthy, breaker.Resumed, breaker.Healthy},
	{breaker.Degraded, breaker.Admitted, breaker.Healthy},
	{breaker.Degraded, breaker.Restored, breaker.Healthy},
	{breaker.Degraded, breaker.Lost, breaker.Degraded},
	{breaker.Degraded, breaker.Ejected, breaker.Degraded},
	{breaker.Degraded, breaker.Suspended, breaker.Degraded},
	{breaker.Degraded, breaker.Retired, breaker.Draining},
	{breaker.Degraded, breaker.Resumed, breaker.Degraded},
	{breaker.Draining, breaker.Admitted, breaker.Draining},
	{breaker.Draining, breaker.Restored, breaker.Draining},
	{breaker.Draining, breaker.Lost, breaker.Draining},
	{breaker.Draining, breaker.Ejected, breaker.Draining},
	{breaker.Draining, breaker.Suspended, breaker.Draining},
	{breaker.Draining, breaker.Retired, breaker.Draining},
	{breaker.Draining, breaker.Resumed, breaker.Degraded},
}

func TestEveryPairOfStateAndSignalHasItsNextState(t *testing.T) {
	type pair struct {
		breaker.State
		breaker.Signal
	}
	seen := map[pair]bool{}
	for _, tr := range transitions {
		seen[pair{tr.from, tr.sig}] = true
		if got := breaker.Next(tr.from, tr.sig); got != tr.to {
			t.Errorf("%v, %v: %v, want %v", tr.from, tr.sig, got, tr.to)
		}
	}
	for s := breaker.Healthy; s <= breaker.Draining; s++ {
		for sig := breaker.Admitted; sig <= breaker.Resumed; sig++ {
			if !seen[pair{s, sig}] {
				t.Errorf("the table has no row for %v, %v", s, sig)
			}
		}
	}
}

func TestASignalThatIsNotKnownChangesNothing(t *testing.T) {
	for _, s := range []breaker.State{breaker.Healthy, breaker.Degraded} {
		if got := breaker.Next(s, 99); got != s {
			t.Errorf("%v became %v", s, got)
		}
	}
	if got := breaker.Signal(99).String(); got != "signal(99)" {
		t.Errorf("Signal(99) = %q", got)
	}
}

func TestTheCooldownGrowsWhileSomethingFlapsAndStartsAnewOnceItHasHeld(t *testing.T) {
	now := time.Now()
	c := breaker.Cooldown{Base: time.Second}
	trip := func(inService, want time.Duration) {
		t.Helper()
		c.Back(now)
		now = now.Add(inService)
		if got := c.Trip(now); got != want {
			t.Errorf("after %v in service: rest %v, want %v", inService, got, want)
		}
	}
	c.Back(now) // into service for the first time
	if got := c.Trip(now); got != time.Second {
		t.Errorf("first rest %v", got)
	}
	trip(time.Millisecond, 2*time.Second)
	trip(10*time.Second, 4*time.Second)
	trip(31*time.Second, 8*time.Second)
	trip(time.Second, 8*time.Second) // no longer than that
	trip(64*time.Second, time.Second)
	trip(7*time.Second, 2*time.Second)
}

func TestARestIsNeverShorterThanItsBaseNorLongerThanEightTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "base"))
		c, now := breaker.Cooldown{Base: base}, time.Now()
		for range rapid.IntRange(1, 50).Draw(t, "trips") {
			rest := c.Trip(now)
			if rest < base || rest > 8*base {
				t.Fatalf("rest %v with a base of %v", rest, base)
			}
			now = now.Add(rest)
			c.Back(now)
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "in service")))
		}
	})
}

func ExampleNext() {
	s := breaker.Degraded
	for _, sig := range []breaker.Signal{breaker.Admitted, breaker.Ejected, breaker.Retired} {
		s = breaker.Next(s, sig)
		fmt.Println(sig, "→", s)
	}
	// Output:
	// admitted → healthy
	// ejected → degraded
	// retired → draining
}

func ExampleCooldown() {
	c := breaker.Cooldown{Base: time.Second}
	now := time.Now()
	for range 3 {
		rest := c.Trip(now)
		fmt.Println(rest)
		now = now.Add(rest)
		c.Back(now) // and is out again at once
	}
	// Output:
	// 1s
	// 2s
	// 4s
}
