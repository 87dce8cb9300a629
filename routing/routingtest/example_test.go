package routingtest_test

import (
	"context"
	"fmt"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/routingtest"
)

// printer stands in for the *testing.T of a test.
type printer struct{}

func (printer) Helper()                           {}
func (printer) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// In a test it is the *testing.T that is handed in. A Selector that is meant to
// use one enclave as long as it can says so with Uneven.
func ExampleRun() {
	firstHealthy := selectorFunc(func(_ context.Context, v *routing.View, _ string) (string, error) {
		for m := range v.All() {
			if m.State == breaker.Healthy {
				return m.ID, nil
			}
		}
		return "", routing.ErrNoMember
	})
	newSelector := func() routing.Selector { return firstHealthy }
	routingtest.Run(printer{}, newSelector)
	routingtest.Run(printer{}, newSelector, routingtest.Uneven())
	// Output:
	// spread: "enclave-0" has 2000 of 2000 keys, one of 8 members of the same weight
}
