package gateway

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/routingtest"
)

func TestRoutingIsReadFromItsName(t *testing.T) {
	for _, text := range []string{"", "strict", "spill", "spill:1", "spill:64"} {
		if s, err := ParseRouting(text); s == nil || err != nil {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"Strict", "spill:", "spill:0", "spill:65", "spill:x", "spill2", "strict:1"} {
		if _, err := ParseRouting(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestSelectorsKeepToTheContract(t *testing.T) {
	for _, text := range []string{"strict", "spill:2"} {
		t.Run(text, func(t *testing.T) {
			routingtest.Run(t, func() routing.Selector {
				s, err := ParseRouting(text)
				if err != nil {
					t.Fatal(err)
				}
				return noting{Selector: s}
			})
		})
	}
}

// view shows a, b and c, of which one may be away.
func view(seq uint64, away string) *routing.View {
	var members []routing.Member
	for _, id := range []string{"a", "b", "c"} {
		m := routing.Member{ID: id, State: breaker.Healthy, Capacity: 100}
		if id == away {
			m.State = breaker.Degraded
		}
		members = append(members, m)
	}
	return routing.NewView(seq, members...)
}

func TestOnlyKeysCreatedAwayFromTheirOwnerAreLookedForElsewhereWhenItIsBack(t *testing.T) {
	s := newSpilling(1)
	ctx := context.Background()
	creating := withTrip(ctx, &trip{creates: true})
	choose := func(ctx context.Context, v *routing.View, key string) string {
		t.Helper()
		id, err := s.Select(ctx, v, key)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for i := range 100 {
		old, created := fmt.Sprint("old-", i), fmt.Sprint("created-", i)
		well := view(1, "")
		owner := choose(creating, well, old)
		if owner != ownerOf(ctx, well, old) {
			t.Fatalf("%s was created in %s while all were there", old, owner)
		}
		away := view(2, ownerOf(ctx, well, created))
		place := choose(creating, away, created)
		if place == ownerOf(ctx, well, created) || place != choose(ctx, away, created) {
			t.Fatalf("%s was created in %s", created, place)
		}
		if choose(ctx, view(3, owner), old) == owner { // a Sign in vain
			t.Fatalf("%s went to an enclave that is away", old)
		}
		if got := choose(ctx, view(4, ""), old); got != owner {
			t.Errorf("%s is looked for in %s, and lives in %s", old, got, owner)
		}
		if got := choose(ctx, view(4, ""), created); got != place {
			t.Errorf("%s is looked for in %s, and was created in %s", created, got, place)
		}
	}
}

func TestNewKeysGoToEnclavesThatTakeThem(t *testing.T) {
	for _, text := range []string{"strict", "spill"} {
		t.Run(text, func(t *testing.T) {
			r := start(t, enclave.Options{}, func(c *Config) { c.Selector, _ = ParseRouting(text) }, "a", "b", "c")
			if err := r.gateway.pool.Ready(limited(t)); err != nil {
				t.Fatal(err)
			}
			r.enclaves["c"].Close()
			eventually(t, "c is away", func() bool { m, _ := r.gateway.pool.View().Member("c"); return m.State != breaker.Healthy })
			if err := r.gateway.pool.Cordon("b"); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				if id := r.owner(r.create(t, "", edAlg).GetKeyId()); id != "a" {
					t.Fatalf("a new key in %s", id)
				}
			}
			r.create(t, r.keyAt(t, "b"), edAlg) // a cordoned enclave goes on with keys that have their names
			if err := r.gateway.pool.Cordon("a"); err != nil {
				t.Fatal(err)
			}
			if err := r.gateway.pool.Cordon("c"); err != nil {
				t.Fatal(err)
			}
			_, err := r.signer.Create(limited(t), &signerv1.CreateRequest{})
			if m := errorInfo(t, err).GetMetadata(); status.Code(err) != codes.Unavailable || m["disposition"] != "not_sent" || m["retryable"] != "true" {
				t.Errorf("all are cordoned: %v, %v", err, m)
			}
		})
	}
}

func TestNewKeyWaitsForAnEnclaveThatHasJustBeenLost(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a")
		for range 20 { // the first before there is any connection
			r.create(t, "", edAlg)
			r.enclaves["a"].DropConns(0)
		}
	})
}

func TestSignOfAKeyWhoseOwnerIsAwayDependsOnTheRouting(t *testing.T) {
	for text, want := range map[string]codes.Code{"strict": codes.Unavailable, "spill:2": codes.NotFound} {
		t.Run(text, func(t *testing.T) {
			r := start(t, enclave.Options{}, func(c *Config) { c.Selector, _ = ParseRouting(text) }, "a", "b", "c")
			if err := r.gateway.pool.Ready(limited(t)); err != nil { // else it may be created elsewhere
				t.Fatal(err)
			}
			key := r.keyAt(t, "a")
			r.create(t, key, edAlg)
			r.enclaves["a"].Close()
			eventually(t, "a is away", func() bool { m, _ := r.gateway.pool.View().Member("a"); return m.State != breaker.Healthy })
			_, err := r.signer.Sign(limited(t), &signerv1.SignRequest{KeyId: key, Digest: digest})
			info := errorInfo(t, err)
			if status.Code(err) != want || (info.GetMetadata()["enclave_id"] == "a") != (want == codes.Unavailable) {
				t.Errorf("%v, %v", err, info)
			}
			if strict := text == "strict"; strict != (info.GetReason() == "ENCLAVE_UNAVAILABLE") || strict != (info.GetMetadata()["retryable"] == "true") {
				t.Errorf("%v", info)
			}
			fresh := r.keyAt(t, "a") + "-" // some key of a's that nobody has made yet
			for r.owner(fresh) != "a" {
				fresh += "-"
			}
			made, err := r.signer.Create(limited(t), &signerv1.CreateRequest{KeyId: fresh, Algorithm: edAlg})
			if (err == nil) != (text != "strict") {
				t.Errorf("Create: %v, %v", made, err)
			}
			if err == nil {
				if _, _, body := r.post(t, "/v1/sign", signJSON(fresh)); body.EnclaveID == "a" || len(body.Signature) == 0 {
					t.Errorf("Sign: %+v", body)
				}
			}
		})
	}
}
