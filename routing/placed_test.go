package routing_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

func TestMoveIsSeenByEverybodyWhoWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		p, other := newPlaced(t, d), newPlaced(t, d)
		mustSelect(t, making, p, view("a"), "k", "a")
		v := view("a", "b")
		mustSelect(t, ctx, other, v, "k", "a")
		at, err := d.Lookup(ctx, "k")
		if err != nil {
			t.Fatal(err)
		}
		moved, err := d.Move(ctx, at, "b")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		mustSelect(t, ctx, p, v, "k", "b")
		mustSelect(t, ctx, other, v, "k", "b")
		if err := d.Forget(ctx, moved); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := p.Select(ctx, v, "k"); !errors.Is(err, routing.ErrNotPlaced) {
			t.Error(err)
		}
		if n := other.Stats().Lookups; n != 1 {
			t.Errorf("%d lookups: a move is told, not asked for", n)
		}
		_ = p.Close()     // always nil, and before the bubble ends
		_ = other.Close() // the same
	})
}

// slow answers a lookup when it is told to; the answer is as of when it was asked.
type slow struct {
	routing.Directory
	asked, answer chan struct{}
}

func (s slow) Lookup(ctx context.Context, key string) (routing.Placement, error) {
	p, err := s.Directory.Lookup(ctx, key)
	s.asked <- struct{}{}
	<-s.answer
	return p, err
}

func TestAnswerThatAChangeOvertookIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		at, _, err := d.Place(ctx, "k", "a")
		if err != nil {
			t.Fatal(err)
		}
		s := slow{d, make(chan struct{}), make(chan struct{})}
		p := newPlaced(t, s)
		v := view("a", "b")
		done := make(chan string)
		go func() {
			id, err := p.Select(ctx, v, "k")
			done <- fmt.Sprint(id, err)
		}()
		<-s.asked
		if _, err := d.Move(ctx, at, "b"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the change has gone by
		s.answer <- struct{}{}
		<-done // it may be told either
		if n := p.Stats().Kept; n != 0 {
			t.Errorf("%d places are kept", n)
		}
		go func() {
			<-s.asked
			s.answer <- struct{}{}
		}()
		mustSelect(t, ctx, p, v, "k", "b")
		_ = p.Close() // always nil, and before the bubble ends
	})
}

func TestKeyThatWasMadeWhileSomebodyElseAskedIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		s := slow{d, make(chan struct{}, 2), make(chan struct{})}
		p := newPlaced(t, s)
		early, late := make(chan error), make(chan error)
		go func() { _, err := p.Select(ctx, view("a"), "k"); early <- err }()
		<-s.asked // and was told that there is none
		if _, _, err := d.Place(ctx, "k", "a"); err != nil {
			t.Fatal(err)
		}
		go func() { _, err := p.Select(ctx, view("a"), "k"); late <- err }()
		synctest.Wait() // late has joined early's question
		close(s.answer)
		<-early // it may be told either
		if err := <-late; err != nil {
			t.Error(err)
		}
		_ = p.Close() // always nil, and before the bubble ends
	})
}

func TestCallersWhoMissTogetherAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		if _, _, err := d.Place(ctx, "k", "a"); err != nil {
			t.Fatal(err)
		}
		s := slow{d, make(chan struct{}, 1), make(chan struct{})}
		p := newPlaced(t, s)
		var wg sync.WaitGroup
		var left atomic.Int32
		for i := range 100 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				if i == 0 {
					cancel() // whoever asked first leaves; the others stay
				}
				if _, err := p.Select(ctx, view("a"), "k"); errors.Is(err, context.Canceled) {
					left.Add(1)
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(s.answer)
		wg.Wait()
		if n := p.Stats().Lookups; n != 1 || left.Load() > 1 {
			t.Errorf("%d lookups, %d left", n, left.Load())
		}
		_ = p.Close() // always nil, and before the bubble ends
	})
}

func TestKeptPlaceCostsNoAllocation(t *testing.T) {
	p := newPlaced(t, newDirectory(t))
	v := view("a", "b", "c")
	if _, err := p.Select(making, v, "k"); err != nil {
		t.Fatal(err)
	}
	before := p.Stats().Lookups
	if n := testing.AllocsPerRun(1000, func() { _, _ = p.Select(ctx, v, "k") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if p.Stats().Lookups != before {
		t.Error("the directory was asked")
	}
}

func TestCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaced(t, newDirectory(t), routing.WithCacheSize(100))
		for i := range 5000 {
			if _, err := p.Select(making, view("a"), fmt.Sprint("k", i)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // what is over goes in the background
		if n := p.Stats().Kept; n > 100 {
			t.Errorf("%d places are kept", n)
		}
		_ = p.Close() // always nil, and before the bubble ends
	})
}
