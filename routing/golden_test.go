package routing

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"testing"
)

var update = flag.Bool("update", false, "write testdata again; it moves everybody's keys")

// published is what any implementation of this hashing, in any language, arrives at.
type published struct {
	Seeds   map[string]string // of an ID, in hexadecimal
	NegLog2 map[string]string // of a number, both in hexadecimal
	Orders  []publishedOrders
}

type publishedOrders struct {
	Weights map[string]int
	Keys    map[string][]string // the members in the key's order
}

func compute() published {
	g := published{Seeds: map[string]string{}, NegLog2: map[string]string{}}
	hexa := func(u uint64) string { return fmt.Sprintf("%016x", u) }
	for _, id := range []string{"a", "b", "enclave-0", "enclave-1", "signer.eu-central-1.example/7", "Gerät Ω"} {
		g.Seeds[id] = hexa(seedOf(id))
	}
	for u := uint64(1); u != 0; u <<= 7 {
		for _, u := range []uint64{u - 1, u, u + 1, -u, mix(u)} {
			g.NegLog2[hexa(u)] = hexa(negLog2(u))
		}
	}
	for _, weights := range []map[string]int{
		{"only": 3},
		{"a": 1, "b": 1, "c": 1},
		{"enclave-0": 1, "enclave-1": 2, "enclave-2": 3, "enclave-3": 4, "enclave-4": 100},
		{"light": 1, "heavy": 1_000_000, "Gerät Ω": 500_000},
	} {
		o := publishedOrders{Weights: weights, Keys: map[string][]string{}}
		var ms []Member
		for id, w := range weights {
			ms = append(ms, Member{ID: id, Weight: w})
		}
		v := NewView(1, ms...)
		for _, key := range []string{"a", "only", "0", "00000000-0000-0000-0000-000000000000", "ключ", "\x00"} {
			o.Keys[key] = order(v, key)
		}
		for i := range 20 {
			key := fmt.Sprintf("key-%d", i)
			o.Keys[key] = order(v, key)
		}
		g.Orders = append(g.Orders, o)
	}
	return g
}

func TestTheHashingIsTheOneThatIsPublished(t *testing.T) {
	const path = "testdata/rendezvous.json"
	got := compute()
	if *update {
		out, err := json.MarshalIndent(got, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(out, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want published
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Seeds) == 0 || len(want.NegLog2) == 0 || len(want.Orders) == 0 {
		t.Fatalf("%s lacks something", path)
	}
	for id, seed := range want.Seeds {
		if got.Seeds[id] != seed {
			t.Errorf("seed of %q: %s, want %s", id, got.Seeds[id], seed)
		}
	}
	for u, l := range want.NegLog2 {
		if got.NegLog2[u] != l {
			t.Errorf("negLog2 of %s: %s, want %s", u, got.NegLog2[u], l)
		}
	}
	if !reflect.DeepEqual(got.Orders, want.Orders) {
		t.Errorf("orders differ from %s", path)
	}
}
