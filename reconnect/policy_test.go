package reconnect_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/enclavepool/enclavepool/internal/field"
	"github.com/enclavepool/enclavepool/reconnect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheFirstAttemptIsImmediateAndNoWaitExceedsMax(t *testing.T) {
	p := reconnect.DefaultPolicy()
	b := p.Backoff()
	if d := b.Next(); d != 0 {
		t.Fatalf("first wait = %v, want 0", d)
	}
	ideal := float64(p.Initial)
	for i := range 50 {
		d := b.Next()
		low := time.Duration(math.Min(ideal*(1-p.Jitter), float64(p.Max)) * 0.999)
		high := time.Duration(math.Min(ideal*(1+p.Jitter)*1.001+1, float64(p.Max)))
		if i > 3 {
			low = time.Duration(float64(p.Max) * (1 - p.Jitter) * 0.999)
		}
		if d < low || d > high {
			t.Fatalf("wait %d = %v, want %v to %v", i+1, d, low, high)
		}
		ideal = math.Min(ideal*p.Multiplier, float64(p.Max))
	}
}

func TestResetMakesTheNextAttemptImmediate(t *testing.T) {
	b := reconnect.DefaultPolicy().Backoff()
	for range 10 {
		b.Next()
	}
	b.Reset()
	if d := b.Next(); d != 0 {
		t.Fatalf("wait after Reset = %v, want 0", d)
	}
	if d := b.Next(); d > 30*time.Millisecond {
		t.Fatalf("second wait after Reset = %v, want about 25ms", d)
	}
}

func TestTwoConnectionsDoNotRetryInStep(t *testing.T) {
	p := reconnect.DefaultPolicy()
	same := 0
	for range 200 {
		a, b := p.Backoff(), p.Backoff()
		a.Next()
		b.Next()
		if a.Next() == b.Next() {
			same++
		}
	}
	if same > 5 {
		t.Fatalf("%d of 200 pairs waited exactly as long", same)
	}
}

func TestNoValidPolicyEverWaitsLongerThanMax(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := reconnect.Policy{
			Initial:    time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Second)).Draw(t, "initial")),
			Multiplier: rapid.Float64Range(1, 100).Draw(t, "multiplier"),
			Jitter:     rapid.Float64Range(0, 0.99).Draw(t, "jitter"),
		}
		p.Max = p.Initial + time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "over"))
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		b := p.Backoff()
		for range 40 {
			if d := b.Next(); d < 0 || d > p.Max {
				t.Fatalf("wait %v outside 0 to %v", d, p.Max)
			}
		}
	})
}

func TestEveryBadFieldIsReported(t *testing.T) {
	err := reconnect.Policy{Multiplier: 0.5, Jitter: 1, Max: -1, Budget: -1}.Validate()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("Validate = %v, want several errors joined", err)
	}
	var got []string
	for _, e := range joined.Unwrap() {
		var f *field.Error
		if !errors.As(e, &f) {
			t.Fatalf("%v is no *field.Error", e)
		}
		got = append(got, f.Field)
	}
	if want := "[Initial Max Multiplier Jitter Budget]"; fmt.Sprint(got) != want {
		t.Errorf("bad fields = %v, want %v", got, want)
	}
	if err := reconnect.DefaultPolicy().Validate(); err != nil {
		t.Errorf("the default policy is refused: %v", err)
	}
}

func ExamplePolicy_Backoff() {
	p := reconnect.DefaultPolicy()
	p.Jitter = 0
	b := p.Backoff()
	for range 6 {
		fmt.Print(b.Next(), " ")
	}
	// Output: 0s 25ms 50ms 100ms 200ms 200ms
}
