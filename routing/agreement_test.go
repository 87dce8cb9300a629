package routing_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

// digest is of all the choices for 100 000 keys: equal and other weights, some
// members out, strict and spilling.
func digest() string {
	hash := sha256.New()
	ms := members(9, different)
	ms[2].State, ms[7].State = breaker.Degraded, breaker.Draining
	views := []*routing.View{routing.NewView(1, members(16, equal)...), routing.NewView(2, ms...)}
	sel := []routing.Selector{routing.NewRendezvous(), routing.NewRendezvous(routing.WithSpill(2))}
	for i, key := range testKeys(100_000) {
		id, err := sel[i/2%2].Select(context.Background(), views[i%2], key)
		var out *routing.OwnerError
		if errors.As(err, &out) {
			id = "no: " + out.EnclaveID
		}
		hash.Write(append([]byte(id), 0))
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func TestTwoProcessesChooseTheSame(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), askedFor+"=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if mine := digest(); string(out) != mine {
		t.Errorf("the other process chose %q, this one %q", out, mine)
	}
}

// The same digest on every architecture and in every version of the library:
// a change of the choices moves keys, and needs a new major version.
func TestEveryBuildChoosesTheSame(t *testing.T) {
	const want = "3c8c0885a2c7d5e775db5d6030c0474ffaade8b654904373a0bb672245e4586c"
	if got := digest(); got != want {
		t.Errorf("digest of 100000 choices is %s, want %s", got, want)
	}
}
