package routing_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

// pick selects, and fails the test on an error.
func pick(t testing.TB, sel routing.Selector, v *routing.View, key string) string {
	t.Helper()
	id, err := sel.Select(context.Background(), v, key)
	if err != nil || id == "" {
		t.Fatalf("key %q: %q, %v", key, id, err)
	}
	return id
}

// changed returns the View with one member changed.
func changed(v *routing.View, id string, change func(*routing.Member)) *routing.View {
	ms := v.Members()
	for i := range ms {
		if ms[i].ID == id {
			change(&ms[i])
		}
	}
	return v.Next(v.Seq()+1, ms...)
}

func state(s breaker.State) func(*routing.Member) {
	return func(m *routing.Member) { m.State = s }
}

func cordon(m *routing.Member) { m.Cordoned = true }

// inOrder returns the first n of the key's order: each the owner once those
// before it have left.
func inOrder(t testing.TB, v *routing.View, key string, n int) []string {
	var ids []string
	strict := routing.NewRendezvous()
	for range n {
		ms := slices.DeleteFunc(v.Members(), func(m routing.Member) bool { return slices.Contains(ids, m.ID) })
		for i := range ms {
			ms[i].State = breaker.Healthy
		}
		ids = append(ids, pick(t, strict, routing.NewView(1, ms...), key))
	}
	return ids
}

// ownerIsOut asserts an OwnerError.
func ownerIsOut(t testing.TB, sel routing.Selector, v *routing.View, key string, want routing.OwnerError) {
	t.Helper()
	id, err := sel.Select(context.Background(), v, key)
	var got *routing.OwnerError
	if id != "" || !errors.Is(err, routing.ErrOwnerUnavailable) || !errors.As(err, &got) || *got != want {
		t.Errorf("key %q: %q, %v; want %v", key, id, err, &want)
	}
}

func TestStrictServesAKeyFromItsOwnerOrNotAtAll(t *testing.T) {
	v := routing.NewView(1, members(5, equal)...)
	for _, sel := range []routing.Selector{routing.NewRendezvous(), routing.NewRendezvous(routing.WithSpill(2), routing.Strict), routing.NewRendezvous(routing.WithSpill(0))} {
		for _, key := range testKeys(50) {
			owner := pick(t, sel, v, key)
			for _, s := range []breaker.State{breaker.Degraded, breaker.Draining, breaker.State(9)} {
				ownerIsOut(t, sel, changed(v, owner, state(s)), key,
					routing.OwnerError{EnclaveID: owner, State: s, RetryAfter: 200 * time.Millisecond})
			}
			full := changed(v, owner, func(m *routing.Member) { m.InFlight, m.Capacity = 10, 0 })
			if got := pick(t, sel, full, key); got != owner {
				t.Errorf("key %q goes to %q while its owner %q is full", key, got, owner)
			}
		}
	}
}

func TestTheRetryDelayIsTheOneThatWasSet(t *testing.T) {
	v := routing.NewView(1, routing.Member{ID: "a", State: breaker.Draining})
	ownerIsOut(t, routing.NewRendezvous(routing.WithRetryAfter(time.Second)), v, "k",
		routing.OwnerError{EnclaveID: "a", State: breaker.Draining, RetryAfter: time.Second})
}

func TestACordonedEnclaveKeepsItsKeys(t *testing.T) {
	v := routing.NewView(1, members(5, equal)...)
	for _, sel := range []routing.Selector{routing.NewRendezvous(), routing.NewRendezvous(routing.WithSpill(2), routing.WithLoadBound(1.25))} {
		for _, key := range testKeys(50) {
			owner := pick(t, sel, v, key)
			if got := pick(t, sel, changed(v, owner, cordon), key); got != owner {
				t.Errorf("key %q moves from %q, which is cordoned, to %q", key, owner, got)
			}
		}
	}
}

func TestAKeySpillsToTheNextInItsOrderThatTakesCalls(t *testing.T) {
	v := routing.NewView(1, members(6, different)...)
	sel := routing.NewRendezvous(routing.WithSpill(2))
	for _, key := range testKeys(50) {
		ids := inOrder(t, v, key, 4)
		for _, s := range []breaker.State{breaker.Degraded, breaker.Draining} {
			out := changed(v, ids[0], state(s))
			if got := pick(t, sel, out, key); got != ids[1] {
				t.Errorf("key %q spills to %q, want %q", key, got, ids[1])
			}
			for what, change := range map[string]func(*routing.Member){
				"degraded": state(breaker.Degraded), "draining": state(breaker.Draining), "cordoned": cordon,
				"without capacity": func(m *routing.Member) { m.Capacity = 0 },
			} {
				if got := pick(t, sel, changed(out, ids[1], change), key); got != ids[2] {
					t.Errorf("key %q: with %q %s it spills to %q, want %q", key, ids[1], what, got, ids[2])
				}
				// The fourth has no part in it, however well it is.
				ownerIsOut(t, sel, changed(changed(out, ids[1], change), ids[2], state(breaker.Degraded)), key,
					routing.OwnerError{EnclaveID: ids[0], State: s, RetryAfter: 200 * time.Millisecond})
			}
			full := changed(out, ids[1], func(m *routing.Member) { m.InFlight = m.Capacity })
			if got := pick(t, sel, full, key); got != ids[1] {
				t.Errorf("key %q: without a load bound a full %q is passed over for %q", key, ids[1], got)
			}
		}
	}
}

func TestMoreSpillThanThereAreMembers(t *testing.T) {
	ms := members(12, equal)
	for i := range ms {
		ms[i].State = breaker.Degraded
	}
	sel := routing.NewRendezvous(routing.WithSpill(1000))
	if id, err := sel.Select(t.Context(), routing.NewView(1, ms...), "k"); id != "" || !errors.Is(err, routing.ErrOwnerUnavailable) {
		t.Errorf("%q, %v; want ErrOwnerUnavailable", id, err)
	}
	ms[7].State = breaker.Healthy
	if got := pick(t, sel, routing.NewView(1, ms...), "k"); got != ms[7].ID {
		t.Errorf("%q, want %q, the only one that is well", got, ms[7].ID)
	}
}

func TestWhereNobodyStatesACapacityItIsUnknownAndNotZero(t *testing.T) {
	v := routing.NewView(1, routing.Member{ID: "a"}, routing.Member{ID: "b"})
	sel := routing.NewRendezvous(routing.WithSpill(1))
	owner := pick(t, sel, v, "k")
	if got := pick(t, sel, changed(v, owner, state(breaker.Degraded)), "k"); got == owner {
		t.Errorf("still %q", got)
	}
	if got := pick(t, routing.NewLeastLoaded(), v, ""); got == "" {
		t.Error("nobody")
	}
}

func TestAKeySpillsFromAnOwnerThatIsOverItsShareOfTheLoad(t *testing.T) {
	sel := routing.NewRendezvous(routing.WithSpill(2), routing.WithLoadBound(1.25))
	at := func(ids []string, loads ...[2]int) *routing.View { // in flight, capacity
		var ms []routing.Member
		for i, l := range loads {
			ms = append(ms, routing.Member{ID: ids[i], InFlight: l[0], Capacity: l[1]})
		}
		return routing.NewView(1, ms...)
	}
	ids := inOrder(t, at([]string{"a", "b", "c", "d"}, [2]int{}, [2]int{}, [2]int{}, [2]int{}), "key", 4)
	for _, c := range []struct {
		what  string
		want  int // place in the key's order
		loads [][2]int
	}{
		{"all idle", 0, [][2]int{{0, 100}, {0, 100}, {0, 100}, {0, 100}}},
		{"all alike", 0, [][2]int{{50, 100}, {50, 100}, {50, 100}, {50, 100}}},
		// (39+60+1)·1.25/4 = 31.25, so 32 are too many for one more to come.
		{"one below the bound", 0, [][2]int{{31, 100}, {20, 100}, {20, 100}, {28, 100}}},
		{"one above it", 1, [][2]int{{32, 100}, {20, 100}, {20, 100}, {27, 100}}},
		{"exactly at it, 80·1.25/4", 1, [][2]int{{25, 100}, {18, 100}, {18, 100}, {18, 100}}},
		{"the next is over it too", 2, [][2]int{{40, 100}, {40, 100}, {10, 100}, {10, 100}}},
		{"all that it may spill to are", 0, [][2]int{{40, 100}, {40, 100}, {40, 100}, {0, 100}}},
		{"twice the capacity, twice the share", 0, [][2]int{{40, 200}, {20, 100}, {20, 100}, {20, 100}}},
		{"half the capacity, half the share", 1, [][2]int{{40, 50}, {40, 100}, {40, 100}, {40, 100}}},
		{"no capacity of its own", 1, [][2]int{{0, 0}, {1, 100}, {1, 100}, {1, 100}}},
		{"no slot left", 1, [][2]int{{100, 100}, {99, 100}, {99, 100}, {99, 100}}},
		{"the next has none", 2, [][2]int{{100, 100}, {0, 0}, {99, 100}, {99, 100}}},
		{"capacity unknown", 1, [][2]int{{40, 0}, {10, 0}, {10, 0}, {10, 0}}},
	} {
		if got := pick(t, sel, at(ids, c.loads...), "key"); got != ids[c.want] {
			t.Errorf("%s: %q, number %d in the key's order; want number %d", c.what, got, slices.Index(ids, got), c.want)
		}
	}
	// An owner that is down has to give its key away, bound or not.
	v := changed(at(ids, [2]int{0, 100}, [2]int{90, 100}, [2]int{95, 100}, [2]int{0, 100}), ids[0], state(breaker.Degraded))
	if got := pick(t, sel, v, "key"); got != ids[1] {
		t.Errorf("%q, want %q, the first that could take it", got, ids[1])
	}
}

func TestNoMembersAndNoKey(t *testing.T) {
	for name, sel := range map[string]routing.Selector{"strict": routing.NewRendezvous(), "sticky": routing.NewSticky(routing.NewRendezvous()), "least loaded": routing.NewLeastLoaded()} {
		for _, v := range []*routing.View{nil, {}, routing.NewView(1), routing.NewView(1, routing.Member{})} {
			if id, err := sel.Select(t.Context(), v, "k"); id != "" || !errors.Is(err, routing.ErrNoMember) {
				t.Errorf("%s, no members: %q, %v", name, id, err)
			}
		}
	}
	v := routing.NewView(1, routing.Member{ID: "a"})
	for _, sel := range []routing.Selector{routing.NewRendezvous(), routing.NewSticky(routing.NewRendezvous())} {
		if id, err := sel.Select(t.Context(), v, ""); id != "" || !errors.Is(err, routing.ErrNoKey) {
			t.Errorf("no key: %q, %v", id, err)
		}
	}
}

// Random joins, leaves, drains, cordons and weights: with Strict, what becomes of
// a key changes only where the member that changed had it or has it now.
func TestOnlyKeysOfTheMemberThatChangesMove(t *testing.T) {
	keys := testKeys(200)
	outcome := func(sel routing.Selector, v *routing.View) (served, owners []string) {
		for _, key := range keys {
			id, err := sel.Select(context.Background(), v, key)
			served = append(served, id)
			var out *routing.OwnerError
			if errors.As(err, &out) {
				id = out.EnclaveID
			}
			owners = append(owners, id)
		}
		return served, owners
	}
	rapid.Check(t, func(t *rapid.T) {
		strict, spill := routing.NewRendezvous(), routing.NewRendezvous(routing.WithSpill(100))
		v := routing.NewView(1, members(rapid.IntRange(1, 10).Draw(t, "members"), different)...)
		served, owners := outcome(strict, v)
		spilled, _ := outcome(spill, v)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			id := fmt.Sprintf("enclave-%d", rapid.IntRange(0, 11).Draw(t, "which"))
			ms := v.Members()
			i := slices.IndexFunc(ms, func(m routing.Member) bool { return m.ID == id })
			switch {
			case i < 0:
				ms = append(ms, routing.Member{ID: id, Weight: rapid.IntRange(1, 9).Draw(t, "joins"), Capacity: 10})
			case rapid.Bool().Draw(t, "leaves"):
				ms = slices.Delete(ms, i, i+1)
			default:
				ms[i].Weight = rapid.IntRange(1, 9).Draw(t, "weight")
				ms[i].State = breaker.State(rapid.IntRange(0, 2).Draw(t, "state"))
			}
			v = v.Next(v.Seq()+1, ms...)
			servedNow, ownersNow := outcome(strict, v)
			spilledNow, _ := outcome(spill, v)
			for k := range keys {
				if owners[k] != ownersNow[k] && owners[k] != id && ownersNow[k] != id {
					t.Fatalf("%q changes, and the owner changes from %q to %q", id, owners[k], ownersNow[k])
				}
				if served[k] != servedNow[k] && owners[k] != id && ownersNow[k] != id {
					t.Fatalf("%q changes, and a key of %q moves from %q to %q", id, owners[k], served[k], servedNow[k])
				}
				if spilled[k] != spilledNow[k] && spilled[k] != id && spilledNow[k] != id {
					t.Fatalf("%q changes, and with spill a key moves from %q to %q", id, spilled[k], spilledNow[k])
				}
			}
			served, owners, spilled = servedNow, ownersNow, spilledNow
		}
	})
}

func TestOptionsOutOfRangePanicWithAMessageThatSaysSo(t *testing.T) {
	for want, f := range map[string]func(){
		`routing: WithSpill(-1): valid: 0 or more`:                                          func() { routing.WithSpill(-1) },
		`routing: WithLoadBound(1): valid: above 1, at most 1000`:                           func() { routing.WithLoadBound(1) },
		`routing: WithRetryAfter(-1ns): valid: 0 or more`:                                   func() { routing.WithRetryAfter(-1) },
		`routing: WithMaxKeys(0): valid: 1 to 16777216`:                                     func() { routing.WithMaxKeys(0) },
		`routing: WithMaxAge(0s): valid: more than 0`:                                       func() { routing.WithMaxAge(0) },
		`routing: WithLoadBound needs WithSpill(n) with n of 1 or more, before or after it`: func() { routing.NewRendezvous(routing.WithLoadBound(2)) },
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("panic %v, want %v", got, want)
				}
			}()
			f()
		}()
	}
}
