package routing_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/routingtest"
)

// dedicated sends the keys of some tenants ("acme/invoice-7") each to an enclave
// of the tenant's own, and leaves the others to another Selector.
type dedicated struct {
	enclaves map[string]string // by tenant; not changed any more
	others   routing.Selector
}

func (d dedicated) Select(ctx context.Context, v *routing.View, key string) (string, error) {
	tenant, _, _ := strings.Cut(key, "/")
	id, ok := d.enclaves[tenant]
	if !ok {
		return d.others.Select(ctx, v, key)
	}
	m, ok := v.Member(id)
	if !ok {
		return "", fmt.Errorf("tenant %q: %w: %q is not in the View", tenant, routing.ErrNoMember, id)
	}
	if m.State != breaker.Healthy {
		return "", &routing.OwnerError{EnclaveID: id, State: m.State, RetryAfter: 200 * time.Millisecond}
	}
	return id, nil
}

func TestDedicated(t *testing.T) {
	routingtest.Run(t, func() routing.Selector {
		return dedicated{enclaves: map[string]string{"acme": "enclave-0"}, others: routing.NewRendezvous()}
	})
}

func ExampleSelector() {
	sel := dedicated{enclaves: map[string]string{"acme": "c", "gone": "z"}, others: routing.NewRendezvous()}
	v := routing.NewView(1, routing.Member{ID: "a"}, routing.Member{ID: "b"}, routing.Member{ID: "c"})
	for _, key := range []string{"acme/invoice-7", "acme/invoice-8", "other/invoice-9", "gone/1"} {
		fmt.Println(sel.Select(context.Background(), v, key))
	}
	// Output:
	// c <nil>
	// c <nil>
	// a <nil>
	//  tenant "gone": no enclave to choose: "z" is not in the View
}
