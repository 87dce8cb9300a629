package gateway

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/memdir"
	"github.com/enclavepool/enclavepool/routing/routingtest"
)

// startPlaced is start with a directory, whose answers can be cut off.
func startPlaced(t *testing.T, tune func(*Config), ids ...string) (*rig, *memdir.Directory, *routingtest.Outage) {
	t.Helper()
	d := memdir.New()
	o := routingtest.NewOutage(d)
	r := start(t, enclave.Options{}, func(c *Config) {
		c.Directory = o
		if tune != nil {
			tune(c)
		}
	}, ids...)
	if err := r.gateway.pool.Ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the directory is read", func() bool { return r.gateway.placed.isReady() })
	return r, d, o
}

// placeOf is where the directory says that a key lives.
func placeOf(t *testing.T, d routing.Directory, key string) string {
	t.Helper()
	p, err := d.Lookup(limited(t), key)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return p.EnclaveID
}

func (r *rig) sign(t *testing.T, key string) error {
	t.Helper()
	_, err := r.signer.Sign(limited(t), &signerv1.SignRequest{KeyId: key, Digest: digest})
	return err
}

func TestPlacedSelectorKeepsToTheContract(t *testing.T) {
	d := memdir.New()
	routingtest.Run(t, func() routing.Selector {
		p := newPlaced(Config{Directory: d, Selector: routing.NewRendezvous()})
		t.Cleanup(func() { _ = p.Close() }) // always nil
		return creating{noting{p, true}}
	}, routingtest.Placing(), routingtest.Allocates())
}

// creating makes a trip of every call that makes its key.
type creating struct{ routing.Selector }

func (c creating) Select(ctx context.Context, v *routing.View, key string) (string, error) {
	return c.Selector.Select(withTrip(ctx, &trip{creates: routing.IsPlacing(ctx)}), v, key)
}

func TestKeyIsRecordedBeforeItsEnclaveHearsOfIt(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r, d, _ := startPlaced(t, by(transport), "a")
		if err := r.enclaves["a"].SetFaults(enclave.Faults{RefuseFraction: 1, RefuseCode: codes.Internal}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.signer.Create(limited(t), &signerv1.CreateRequest{KeyId: "k", Algorithm: edAlg}); err == nil {
			t.Fatal("the fault had no effect")
		}
		if id := placeOf(t, d, "k"); id != "a" {
			t.Errorf("recorded in %q", id)
		}
		// Whatever became of that call, the same one again makes the key where it was recorded.
		if err := r.enclaves["a"].SetFaults(enclave.Faults{}); err != nil {
			t.Fatal(err)
		}
		first := r.create(t, "k", edAlg)
		if again := r.create(t, "k", edAlg); string(again.GetPublicKey()) != string(first.GetPublicKey()) {
			t.Error("a second key")
		}
		if n := r.enclaves["a"].Stats().Keys; n != 1 {
			t.Errorf("%d keys", n)
		}
	})
}

func TestKnownKeyGoesToItsEnclaveAndNowhereElse(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r, d, _ := startPlaced(t, by(transport), "a", "b", "c")
		for i := range 30 {
			// Not where its hash says, as when enclaves have joined since.
			key := fmt.Sprint("k", i)
			home := map[string]string{"a": "b", "b": "c", "c": "a"}[r.owner(key)]
			if _, _, err := d.Place(limited(t), key, home); err != nil {
				t.Fatal(err)
			}
			r.create(t, key, edAlg)
			if err := r.sign(t, key); err != nil {
				t.Fatal(err)
			}
			route := r.gateway.backend.routeOf(limited(t), r.gateway.pool.View(), key)
			if route.OwnerID != home || route.EnclaveID != home || route.Reason != "" {
				t.Errorf("%+v, want %s", route, home)
			}
		}
		keys := 0
		for _, e := range r.enclaves {
			keys += e.Stats().Keys
		}
		if keys != 30 {
			t.Errorf("%d keys in all enclaves together", keys)
		}
	})
}

func TestUnknownKeyIsNotFoundAndAsksNoEnclave(t *testing.T) {
	r, d, _ := startPlaced(t, nil, "a")
	err := r.sign(t, "nobody's")
	info := errorInfo(t, err)
	if status.Code(err) != codes.NotFound || info.GetReason() != "KEY_NOT_PLACED" || info.GetMetadata()["disposition"] != "not_sent" {
		t.Errorf("%v, %v", err, info)
	}
	if page, err := d.List(limited(t), "", 10); err != nil || len(page.Placements) != 0 {
		t.Errorf("asking made a place: %v, %v", page, err)
	}
	route := r.gateway.backend.routeOf(limited(t), r.gateway.pool.View(), "nobody's")
	if route.OwnerID != "a" || route.EnclaveID != "a" || !strings.Contains(route.Reason, "no place") {
		t.Errorf("%+v", route)
	}
}

func TestDirectoryThatIsAwayCostsOnlyWhatIsNotKnown(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r, d, o := startPlaced(t, func(c *Config) { c.Transport, c.MirrorDirectory = transport, true }, "a", "b")
		r.create(t, "known", edAlg)
		o.Away()
		for range 20 {
			if err := r.sign(t, "known"); err != nil {
				t.Fatal(err)
			}
			r.create(t, "known", edAlg)
		}
		for what, call := range map[string]func() error{
			"sign": func() error { return r.sign(t, "unknown") },
			"create": func() error {
				_, err := r.signer.Create(limited(t), &signerv1.CreateRequest{KeyId: "new", Algorithm: edAlg})
				return err
			},
			"create without a name": func() error {
				_, err := r.signer.Create(limited(t), &signerv1.CreateRequest{Algorithm: edAlg})
				return err
			},
		} {
			err := call()
			info := errorInfo(t, err)
			if status.Code(err) != codes.Unavailable || info.GetReason() != "DIRECTORY_UNAVAILABLE" ||
				info.GetMetadata()["retryable"] != "true" || retryDelay(err) <= 0 {
				t.Errorf("%s: %v, %v", what, err, info)
			}
		}
		if n := r.enclaves["a"].Stats().Keys + r.enclaves["b"].Stats().Keys; n != 1 {
			t.Errorf("%d keys: one was made that cannot be found again", n)
		}
		if code, body := r.get(t, "/readyz"); code != 200 || !strings.Contains(body, `"directory":"stale"`) {
			t.Errorf("/readyz: %d %s", code, body)
		}
		o.Back()
		eventually(t, "it heals by itself", func() bool {
			_, err := r.signer.Create(limited(t), &signerv1.CreateRequest{KeyId: "new", Algorithm: edAlg})
			return err == nil
		})
		if id := placeOf(t, d, "new"); id == "" {
			t.Error("not recorded")
		}
	})
}

func TestWhatNoEnclaveWouldMakeIsNotRecorded(t *testing.T) {
	r, d, _ := startPlaced(t, nil, "a")
	for _, n := range []int{signer.MaxKeyIDSize + 1, routing.MaxKeyLen + 1} {
		long := strings.Repeat("x", n)
		if _, err := r.signer.Create(limited(t), &signerv1.CreateRequest{KeyId: long}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("a name of %d bytes: %v", n, err)
		}
		if err := r.sign(t, long); status.Code(err) != codes.NotFound {
			t.Errorf("signing with a name of %d bytes: %v", n, err)
		}
	}
	if _, err := r.signer.Create(limited(t), &signerv1.CreateRequest{KeyId: "k", Algorithm: 99}); status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
	if page, err := d.List(limited(t), "", 10); err != nil || len(page.Placements) != 0 {
		t.Errorf("recorded: %v, %v", page, err)
	}
}

func retryDelay(err error) time.Duration {
	f := fail(err, "", true).(*failure)
	return f.retryAfter
}

func TestNewKeyWaitsForAnEnclaveThatHasJustBeenLostWithADirectoryToo(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r, _, _ := startPlaced(t, by(transport), "a")
		for range 20 {
			r.create(t, "", edAlg)
			r.enclaves["a"].DropConns(0)
		}
		r.enclaves["a"].Close()
		eventually(t, "a is away", func() bool { m, _ := r.gateway.pool.View().Member("a"); return m.State == breaker.Degraded })
		_, err := r.signer.Create(limited(t), &signerv1.CreateRequest{KeyId: "k", Algorithm: edAlg})
		if status.Code(err) != codes.Unavailable || retryDelay(err) <= 0 {
			t.Errorf("it is gone for good: %v", err)
		}
	})
}

func TestCallersOfTwoGatewaysMakeOneKey(t *testing.T) {
	r, d, _ := startPlaced(t, nil, "a", "b")
	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns = 1, 1
	for _, id := range []string{"b", "a"} {
		cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: id, Target: r.targets[id]})
	}
	other, err := New(Config{Pool: cfg, Directory: d, Selector: selectorFunc(func(_ context.Context, v *routing.View, key string) (string, error) {
		return map[string]string{"a": "b", "b": "a"}[ownerOf(context.Background(), v, key)], nil // disagrees with the first
	})})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Shutdown(limited(t))
	if err := other.pool.Ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		req := &signerv1.CreateRequest{KeyId: fmt.Sprint("k", i), Algorithm: edAlg}
		var wg sync.WaitGroup
		publics := make([]string, 8)
		for j := range publics {
			wg.Go(func() {
				res, err := r.gateway.backend.create(limited(t), req)
				if j%2 == 0 {
					res, err = other.backend.create(limited(t), req)
				}
				if err != nil {
					t.Error(err)
				}
				publics[j] = string(res.GetPublicKey())
			})
		}
		wg.Wait()
		for _, p := range publics {
			if p != publics[0] {
				t.Fatal("two keys of one name")
			}
		}
	}
	if n := r.enclaves["a"].Stats().Keys + r.enclaves["b"].Stats().Keys; n != 50 {
		t.Errorf("%d keys", n)
	}
}
