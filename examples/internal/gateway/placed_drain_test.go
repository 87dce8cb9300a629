package gateway

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

func TestDrainMovesNothingAndSaysWhenToComeBack(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r, d, _ := startPlaced(t, by(transport), "a", "b")
		onA := map[string]bool{}
		for i := range 40 {
			key := fmt.Sprint("k", i)
			r.create(t, key, edAlg)
			onA[key] = placeOf(t, d, key) == "a"
		}
		if err := r.gateway.pool.Drain(limited(t), "a"); err != nil {
			t.Fatal(err)
		}
		for key, a := range onA {
			err := r.sign(t, key)
			switch {
			case !a && err != nil:
				t.Errorf("%s, of the other enclave: %v", key, err)
			case a && (status.Code(err) != codes.Unavailable || retryDelay(err) <= 0 || errorInfo(t, err).GetMetadata()["enclave_id"] != "a"):
				t.Errorf("%s: %v", key, err)
			}
		}
		for i := range 20 { // new ones go where they can be made
			key := fmt.Sprint("new", i)
			r.create(t, key, edAlg)
			if id := placeOf(t, d, key); id != "b" {
				t.Errorf("%s was placed in %s", key, id)
			}
		}
		if err := r.gateway.pool.Drain(limited(t), "b"); err != nil {
			t.Fatal(err)
		}
		_, err := r.signer.Create(limited(t), &signerv1.CreateRequest{KeyId: "none", Algorithm: edAlg})
		if status.Code(err) != codes.Unavailable || retryDelay(err) <= 0 {
			t.Errorf("all are draining: %v", err)
		}
		for key, a := range onA {
			if id := placeOf(t, d, key); (id == "a") != a {
				t.Errorf("%s has moved to %s", key, id)
			}
		}
		if err := r.gateway.pool.Resume("a"); err != nil {
			t.Fatal(err)
		}
		for key, a := range onA {
			if a {
				eventually(t, "signing after the drain", func() bool { return r.sign(t, key) == nil })
			}
		}
	})
}
