package routing_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/memdir"
	"github.com/enclavepool/enclavepool/routing/routingtest"
)

var ctx = context.Background()

var making = routing.WithPlacing(ctx)

func newDirectory(t *testing.T) *memdir.Directory {
	d := memdir.New()
	t.Cleanup(func() { _ = d.Close() }) // always nil
	return d
}

// newPlaced returns one that is watching.
func newPlaced(t *testing.T, d routing.Directory, opts ...routing.PlacedOption) *routing.Placed {
	t.Helper()
	p := routing.NewPlaced(routing.NewRendezvous(), d, opts...)
	t.Cleanup(func() { _ = p.Close() }) // always nil
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

// view has Healthy members of these names.
func view(ids ...string) *routing.View {
	var ms []routing.Member
	for _, id := range ids {
		ms = append(ms, routing.Member{ID: id, Capacity: 100})
	}
	return routing.NewView(1, ms...)
}

func viewWith(changed routing.Member, ids ...string) *routing.View {
	return routing.NewView(2, append(view(ids...).Members(), changed)...)
}

func mustSelect(t *testing.T, ctx context.Context, s routing.Selector, v *routing.View, key, want string) {
	t.Helper()
	if id, err := s.Select(ctx, v, key); err != nil || id != want {
		t.Errorf("%q, %v; want %q", id, err, want)
	}
}

func TestPlacedKeepsToTheContractOfSelectors(t *testing.T) {
	d := newDirectory(t)
	routingtest.Run(t, func() routing.Selector { return newPlaced(t, d) }, routingtest.Placing())
	t.Run("without a watch", func(t *testing.T) {
		d := routingtest.NewOutage(newDirectory(t))
		routingtest.Run(t, func() routing.Selector {
			p := routing.NewPlaced(routing.NewRendezvous(), d)
			t.Cleanup(func() { _ = p.Close() }) // always nil
			return p
		}, routingtest.Placing(), routingtest.Keys(200), routingtest.Allocates())
	})
}

func TestKeyStaysWhereItWasPlacedWhoeverJoinsOrLeaves(t *testing.T) {
	d := newDirectory(t)
	p, other := newPlaced(t, d), newPlaced(t, d)
	before := view("a", "b", "c")
	for i := range 300 {
		key := fmt.Sprint("k", i)
		id, err := p.Select(making, before, key)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []routing.Selector{p, other} {
			mustSelect(t, ctx, s, view("a", "b", "c", "d", "e", "f"), key, id)
			mustSelect(t, making, s, view("a", "b", "c", "d", "e", "f"), key, id)
			_, err := s.Select(making, view("d", "e"), key)
			var owner *routing.OwnerError
			if !errors.As(err, &owner) || !owner.Gone || owner.EnclaveID != id || owner.RetryAfter <= 0 {
				t.Fatalf("its enclave has left: %v", err)
			}
		}
	}
}

func TestPlaceIsRecordedBeforeSelectReturns(t *testing.T) {
	d := newDirectory(t)
	p := newPlaced(t, d)
	id, err := p.Select(making, view("a", "b"), "k")
	if err != nil {
		t.Fatal(err)
	}
	if at, err := d.Lookup(ctx, "k"); err != nil || at.EnclaveID != id {
		t.Errorf("%+v, %v", at, err)
	}
}

func TestUnknownKeyIsNotCreated(t *testing.T) {
	d := newDirectory(t)
	p := newPlaced(t, d)
	for range 2 {
		if id, err := p.Select(ctx, view("a"), "k"); !errors.Is(err, routing.ErrNotPlaced) || id != "" {
			t.Errorf("%q, %v", id, err)
		}
	}
	if page, err := d.List(ctx, "", 10); err != nil || len(page.Placements) != 0 {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestOwnerThatIsOutIsSaidToBe(t *testing.T) {
	p := newPlaced(t, newDirectory(t))
	mustSelect(t, making, p, view("a"), "k", "a")
	for _, s := range []breaker.State{breaker.Degraded, breaker.Draining} {
		for name, ctx := range map[string]context.Context{"sign": ctx, "create": making} {
			id, err := p.Select(ctx, viewWith(routing.Member{ID: "a", State: s}, "b"), "k")
			var owner *routing.OwnerError
			if !errors.As(err, &owner) || id != "" {
				t.Fatalf("%s: %q, %v", name, id, err)
			}
			if want := (routing.OwnerError{EnclaveID: "a", State: s, RetryAfter: 200 * time.Millisecond}); *owner != want {
				t.Errorf("%s: %+v, want %+v", name, *owner, want)
			}
		}
	}
	mustSelect(t, ctx, p, viewWith(routing.Member{ID: "a", Cordoned: true}, "b"), "k", "a")
}

func TestNewKeysGoToEnclavesThatTakeThem(t *testing.T) {
	p := newPlaced(t, newDirectory(t))
	for i, m := range []routing.Member{{ID: "a", State: breaker.Degraded}, {ID: "a", State: breaker.Draining}, {ID: "a", Cordoned: true}} {
		for j := range 20 {
			mustSelect(t, making, p, viewWith(m, "b"), fmt.Sprint("k", i, j), "b")
		}
		if _, err := p.Select(making, viewWith(m), fmt.Sprint("k", i)); !errors.Is(err, routing.ErrNoMember) {
			t.Errorf("nobody takes new keys: %v", err)
		}
	}
}

func TestCallersAgreeOnANewKey(t *testing.T) {
	d := newDirectory(t)
	gateways := []*routing.Placed{newPlaced(t, d), newPlaced(t, d), newPlaced(t, d)}
	for round := range 50 {
		var wg sync.WaitGroup
		got := make([]string, 12)
		for i := range got {
			wg.Go(func() { // each gateway sees other enclaves
				v := view("a", "b", "c", "d", "e")
				v = routing.NewView(1, v.Members()[i%3:]...)
				id, err := gateways[i%3].Select(making, v, fmt.Sprint("k", round))
				var owner *routing.OwnerError
				if errors.As(err, &owner) {
					id = owner.EnclaveID
				} else if err != nil {
					t.Error(err)
				}
				got[i] = id
			})
		}
		wg.Wait()
		for _, id := range got {
			if id != got[0] {
				t.Fatalf("%q", got)
			}
		}
	}
}
