package e2e

import (
	"fmt"
	"testing"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

func TestTwoGatewaysSendEveryKeyToTheSameEnclave(t *testing.T) {
	const keys = 100_000
	st := launchWith(t, stack.Config{Enclaves: names(3), Conns: 1, GatewayArgs: []string{"-routing", "strict"}})
	other, err := st.Another(limited(t), "other", "-transport", "unary", "-routing", "spill:2")
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, keys)
	for i := range ids {
		ids[i] = fmt.Sprint("key-", i)
	}
	one, err := st.Gateway.Routes(limited(t), ids)
	if err != nil {
		t.Fatal(err)
	}
	two, err := other.Routes(limited(t), ids)
	if err != nil {
		t.Fatal(err)
	}
	owned := make(map[string]int)
	for i, r := range one {
		if two[i].OwnerID != r.OwnerID || r.KeyID != ids[i] || two[i].KeyID != ids[i] || r.OwnerID == "" {
			t.Fatalf("%+v, and the other gateway says %+v", r, two[i])
		}
		owned[r.OwnerID]++
	}
	if len(one) != keys || len(owned) != 3 {
		t.Errorf("%d keys, owned by %v", len(one), owned)
	}
	for id, n := range owned {
		// Five standard deviations of a binomial with p = 1/3 are about 750.
		if d := n - keys/3; d < -750 || d > 750 {
			t.Errorf("enclave %s owns %d of %d keys", id, n, keys)
		}
	}
}
