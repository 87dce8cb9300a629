package routing_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

func spilling() routing.Selector { return routing.NewRendezvous(routing.WithSpill(2)) }

func TestASpilledKeyStaysWhereItWent(t *testing.T) {
	v := routing.NewView(1, members(5, equal)...)
	sel := routing.NewSticky(spilling())
	for _, key := range testKeys(50) {
		order := inOrder(t, v, key, 3)
		down := changed(v, order[0], state(breaker.Degraded))
		if got := pick(t, sel, down, key); got != order[1] {
			t.Errorf("key %q spills to %q, want %q", key, got, order[1])
		}
		for what, v := range map[string]*routing.View{
			"the owner is back":     v,
			"the place is cordoned": changed(v, order[1], cordon),
			"a third is lost":       changed(v, order[2], state(breaker.Degraded)),
			"an enclave is added":   routing.NewView(9, append(v.Members(), routing.Member{ID: "new", Weight: 1000, Capacity: 1})...),
		} {
			if got := pick(t, sel, v, key); got != order[1] {
				t.Errorf("%s: key %q moves from %q to %q", what, key, order[1], got)
			}
		}
		// It moves on when its place is lost, and stays there again.
		lost := changed(v, order[1], state(breaker.Draining))
		if got := pick(t, sel, lost, key); got != order[0] {
			t.Errorf("key %q goes to %q, want its owner %q", key, got, order[0])
		}
		if got := pick(t, sel, v, key); got != order[0] {
			t.Errorf("key %q goes back to %q", key, got)
		}
	}
}

func TestAStickyKeyOfAStrictSelectorWaitsForItsOwner(t *testing.T) {
	v := routing.NewView(1, members(5, equal)...)
	sel := routing.NewSticky(routing.NewRendezvous())
	owner := pick(t, sel, v, "k")
	ownerIsOut(t, sel, changed(v, owner, state(breaker.Degraded)), "k",
		routing.OwnerError{EnclaveID: owner, State: breaker.Degraded, RetryAfter: 200 * time.Millisecond})
	if got := pick(t, sel, v, "k"); got != owner {
		t.Errorf("%q, want %q", got, owner)
	}
}

func TestARestartForgetsTheKeysOfThatEnclaveAlone(t *testing.T) {
	v := routing.NewView(1, members(3, equal)...)
	sel := routing.NewSticky(spilling())
	keys := testKeys(100)
	went, restarted := map[string]string{}, "enclave-1"
	down := changed(v, "enclave-0", state(breaker.Degraded))
	for _, key := range keys {
		went[key] = pick(t, sel, down, key)
	}
	after := changed(v, restarted, func(m *routing.Member) { m.Epoch++ })
	moved := 0
	for _, key := range keys {
		got, owner := pick(t, sel, after, key), inOrder(t, v, key, 1)[0]
		if went[key] != restarted && got != went[key] {
			t.Errorf("key %q moves from %q, which was not restarted, to %q", key, went[key], got)
		}
		if went[key] == restarted && got != owner {
			t.Errorf("key %q of the restarted enclave goes to %q, want its owner %q", key, got, owner)
		}
		if got != went[key] {
			moved++
		}
	}
	if moved == 0 {
		t.Error("no key had spilled to the restarted enclave: nothing was tested")
	}
}

func TestAnEnclaveThatHasLeftIsForgotten(t *testing.T) {
	v := routing.NewView(1, members(5, equal)...)
	sel := routing.NewSticky(routing.NewRendezvous())
	for _, key := range testKeys(50) {
		order := inOrder(t, v, key, 2)
		pick(t, sel, v, key)
		var rest []routing.Member
		for m := range v.All() {
			if m.ID != order[0] {
				rest = append(rest, m)
			}
		}
		if got := pick(t, sel, routing.NewView(2, rest...), key); got != order[1] {
			t.Errorf("key %q goes to %q, want %q", key, got, order[1])
		}
	}
}

func TestAPlaceIsForgottenAtItsMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := routing.NewView(1, members(5, equal)...)
		sel := routing.NewSticky(spilling(), routing.WithMaxAge(time.Minute))
		order := inOrder(t, v, "k", 2)
		pick(t, sel, changed(v, order[0], state(breaker.Degraded)), "k")
		time.Sleep(time.Minute - 1)
		if got := pick(t, sel, v, "k"); got != order[1] {
			t.Errorf("before its age: %q, want %q", got, order[1])
		}
		time.Sleep(time.Nanosecond)
		if got := pick(t, sel, v, "k"); got != order[0] {
			t.Errorf("at its age, though it was in use: %q, want %q", got, order[0])
		}
	})
}

func TestACordonedEnclaveGetsNoNewKeysFromAStickySelector(t *testing.T) {
	sel := routing.NewSticky(routing.NewLeastLoaded())
	v := routing.NewView(1, members(2, equal)...)
	went := map[string]string{}
	for _, key := range testKeys(100) {
		went[key] = pick(t, sel, v, key)
	}
	cordoned := changed(v, "enclave-0", cordon)
	for key, place := range went {
		if got := pick(t, sel, cordoned, key); got != place {
			t.Errorf("key %q moves from %q to %q", key, place, got)
		}
	}
	for i := range 100 {
		if got := pick(t, sel, cordoned, fmt.Sprint("new-", i)); got == "enclave-0" {
			t.Errorf("a new key goes to %q, which is cordoned", got)
		}
	}
}

// A key that its owner has may be one that this gateway has never seen.
func TestAKeyOfACordonedOwnerGoesThereThoughItIsNotRemembered(t *testing.T) {
	v := routing.NewView(1, members(5, equal)...)
	sel := routing.NewSticky(spilling())
	order := inOrder(t, v, "k", 2)
	if got := pick(t, sel, changed(v, order[0], cordon), "k"); got != order[0] {
		t.Errorf("%q, want %q", got, order[0])
	}
	added := routing.NewView(2, append(v.Members(), routing.Member{ID: "new", Weight: 1 << 30, Capacity: 1})...)
	if got := pick(t, sel, added, "k"); got != "new" {
		t.Errorf("%q was remembered while it was cordoned", got)
	}
}

func TestTheMemoryIsBounded(t *testing.T) {
	v := routing.NewView(1, members(5, equal)...)
	for _, size := range []int{1, 5, 16, 1000, 1 << 13} {
		inner := new(int)
		sel := routing.NewSticky(counting{routing.NewRendezvous(), inner}, routing.WithMaxKeys(size))
		keys := testKeys(3 * size)
		for _, key := range keys {
			pick(t, sel, v, key)
		}
		*inner = 0
		for i := len(keys) - 1; i >= 0; i-- { // the latest first: asking for a forgotten one remembers it
			pick(t, sel, v, keys[i])
		}
		if known := len(keys) - *inner; known > size {
			t.Errorf("%d keys are known, of at most %d", known, size)
		}
	}
}

func TestHalfOfTheMemoryHoldsNearlyAll(t *testing.T) {
	v, inner := routing.NewView(1, members(5, equal)...), new(int)
	sel := routing.NewSticky(counting{routing.NewRendezvous(), inner}, routing.WithMaxKeys(20_000))
	keys := testKeys(10_000)
	for range 2 {
		for _, key := range keys {
			pick(t, sel, v, key)
		}
	}
	if forgotten := *inner - len(keys); forgotten > 150 {
		t.Errorf("%d of %d keys had been forgotten", forgotten, len(keys))
	}
}

// counting counts how often it is asked.
type counting struct {
	routing.Selector
	asked *int
}

func (c counting) Select(ctx context.Context, v *routing.View, key string) (string, error) {
	*c.asked++
	return c.Selector.Select(ctx, v, key)
}

func TestCallersWhoBringANewKeyTogetherAgree(t *testing.T) {
	v := routing.NewView(1, members(8, equal)...)
	sel := routing.NewSticky(routing.NewLeastLoaded())
	for _, key := range testKeys(100) {
		var got [8]string
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() { got[i], _ = sel.Select(context.Background(), v, key) })
		}
		wg.Wait()
		for _, id := range got {
			if id == "" || id != got[0] {
				t.Fatalf("key %q goes to %q", key, got)
			}
		}
	}
}

// elsewhere chooses what is not in the View.
type elsewhere struct{ err error }

func (e elsewhere) Select(context.Context, *routing.View, string) (string, error) {
	return "elsewhere", e.err
}

func TestWhatTheInnerSelectorSaysIsPassedOn(t *testing.T) {
	v := routing.NewView(1, members(2, equal)...)
	failure := errors.New("directory is down")
	if id, err := routing.NewSticky(elsewhere{failure}).Select(t.Context(), v, "k"); id != "" || !errors.Is(err, failure) {
		t.Errorf("%q, %v", id, err)
	}
	if id, err := routing.NewSticky(elsewhere{}).Select(t.Context(), v, "k"); id != "elsewhere" || err != nil {
		t.Errorf("%q, %v", id, err)
	}
	if got := pick(t, routing.NewSticky(routing.NewLeastLoaded()), v, ""); got == "" {
		t.Error("a call without a key went nowhere")
	}
}
