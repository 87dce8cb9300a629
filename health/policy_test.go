package health_test

import (
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/health"
	"github.com/enclavepool/enclavepool/internal/field"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryBadFieldIsReported(t *testing.T) {
	err := health.Policy{Cooldown: -1}.Validate()
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
	if want := "[Interval Timeout FailureThreshold Cooldown]"; fmt.Sprint(got) != want {
		t.Errorf("bad fields = %v, want %v", got, want)
	}
}

func TestADisabledPolicyNeedsNoOtherField(t *testing.T) {
	if err := (health.Policy{Disabled: true}).Validate(); err != nil {
		t.Error(err)
	}
	if err := health.DefaultPolicy().Validate(); err != nil {
		t.Errorf("the default policy is refused: %v", err)
	}
}

func ExampleDefaultPolicy() {
	p := health.DefaultPolicy()
	fmt.Println(p.Interval, p.Timeout, p.FailureThreshold, p.Cooldown)
	// Output: 1s 50ms 3 1s
}
