package breaker_test

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/breaker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStatesSurviveTheirText(t *testing.T) {
	for _, s := range []breaker.State{breaker.Degraded, breaker.Healthy, breaker.Draining} {
		text, err := s.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back breaker.State
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("%v became %q and came back as %v, %v", s, text, back, err)
		}
	}
}

func TestAnUnknownStateTextChangesNothing(t *testing.T) {
	s := breaker.Healthy
	if err := s.UnmarshalText([]byte("poorly")); err == nil || s != breaker.Healthy {
		t.Errorf("UnmarshalText(poorly) = %v and left %v; want an error and healthy", err, s)
	}
	if got := breaker.State(7).String(); got != "state(7)" {
		t.Errorf("State(7) = %q", got)
	}
}

func ExampleState() {
	fmt.Println(breaker.Healthy, breaker.Degraded, breaker.Draining)
	// Output: healthy degraded draining
}
