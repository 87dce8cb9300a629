package pool_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
)

// follower collects events until its context ends.
type follower struct {
	mu     sync.Mutex
	events []breaker.Event
}

func follow(ctx context.Context, p *pool.Pool) *follower {
	f := &follower{}
	go func() {
		for ev := range p.Events(ctx) {
			f.mu.Lock()
			f.events = append(f.events, ev)
			f.mu.Unlock()
		}
	}()
	return f
}

// take returns what has come since the last time.
func (f *follower) take() []breaker.Event {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	events := f.events
	f.events = nil
	return events
}

// brief is what matters of events: who, from, to, why.
func brief(events []breaker.Event) (out []string) {
	for _, ev := range events {
		out = append(out, fmt.Sprintf("%s/%d %v→%v %v", ev.EnclaveID, ev.Conn, ev.From, ev.To, ev.Signal))
	}
	return out
}

func want(t *testing.T, when string, got []breaker.Event, want ...string) {
	t.Helper()
	b := brief(got)
	slices.Sort(b)
	slices.Sort(want)
	if !slices.Equal(b, want) {
		t.Errorf("%s:\n got %q\nwant %q", when, b, want)
	}
}

func TestEverySubscriberHearsOfEveryTransition(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		one, two := follow(ctx, p), follow(ctx, p)
		step := func(when string, expected ...string) {
			t.Helper()
			for _, f := range []*follower{one, two} {
				want(t, when, f.take(), expected...)
			}
		}
		step("at first: where things stand",
			"a/0 degraded→healthy admitted", "a/1 degraded→healthy admitted", "a/-1 degraded→healthy admitted")
		e.Stop()
		step("stopped", "a/0 healthy→degraded lost", "a/1 healthy→degraded lost", "a/-1 healthy→degraded lost")
		e.Restart()
		ready(t, p)
		step("restarted",
			"a/0 degraded→healthy admitted", "a/1 degraded→healthy admitted", "a/-1 degraded→healthy admitted")
		e.SetServing(false)
		time.Sleep(5 * time.Second)
		step("not serving", "a/0 healthy→degraded suspended", "a/1 healthy→degraded suspended", "a/-1 healthy→degraded suspended")
		e.SetServing(true)
		time.Sleep(5 * time.Second)
		step("serving again",
			"a/0 degraded→healthy restored", "a/1 degraded→healthy restored", "a/-1 degraded→healthy restored")
		if err := p.Drain(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		step("drained", "a/0 healthy→draining retired", "a/1 healthy→draining retired", "a/-1 healthy→draining retired")
		if err := p.Resume("a"); err != nil {
			t.Fatal(err)
		}
		ready(t, p)
		for _, f := range []*follower{one, two} {
			for _, ev := range f.take() {
				if ev.Conn == -1 && ev.From == breaker.Draining && ev.Signal != breaker.Resumed {
					t.Errorf("resumed: %+v", ev)
				}
			}
		}
		e.Freeze()
		time.Sleep(5 * time.Second)
		step("frozen", "a/0 healthy→degraded ejected", "a/1 healthy→degraded ejected", "a/-1 healthy→degraded ejected")
		e.Thaw()
		ready(t, p)
	})
}

func TestSeqGrowsStrictlyAndTimesAreMonotonic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := follow(ctx, p)
		for range 50 {
			e.DropConns(1)
			time.Sleep(50 * time.Millisecond)
		}
		got := f.take()
		if len(got) < 50 {
			t.Fatalf("%d events of 50 losses and returns", len(got))
		}
		states := map[int]breaker.State{}
		for i, ev := range got {
			if i > 0 {
				if before := got[i-1]; ev.Seq <= before.Seq || ev.At.Before(before.At) {
					t.Fatalf("%+v after %+v", ev, before)
				}
			}
			// A loss that was made good at once may have been missed.
			if was, ok := states[ev.Conn]; ok && was != ev.From && ev.Seq == got[i-1].Seq+1 && got[i-1].Conn == ev.Conn {
				t.Errorf("%+v, but it was %v", ev, was)
			}
			if ev.From == ev.To || ev.To == breaker.Degraded && ev.Cause == nil {
				t.Errorf("%+v", ev)
			}
			states[ev.Conn] = ev.To
		}
	})
}

func TestASubscriberThatIsSlowOrPanicsOrCallsThePoolDisturbsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		release := make(chan struct{})
		var slow []breaker.Event
		go func() {
			for ev := range p.Events(ctx) {
				slow = append(slow, ev)
				<-release
			}
		}()
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			for range p.Events(ctx) {
				panic("subscriber")
			}
		}()
		calling := 0
		go func() {
			for range p.Events(ctx) {
				calling++
				p.Stats()
				for range p.Events(ctx) {
					break
				}
				l, err := p.Acquire(ctx, "a")
				if err == nil {
					l.Release()
				}
			}
		}()
		synctest.Wait()
		if r := <-panicked; r != "subscriber" {
			t.Errorf("recovered %v", r)
		}
		before := calling
		for range 20 {
			e.Stop()
			synctest.Wait()
			e.Restart()
			ready(t, p)
		}
		synctest.Wait()
		if calling == before {
			t.Error("the subscriber that calls the pool heard nothing")
		}
		if len(slow) != 1 {
			t.Fatalf("the slow subscriber has %d events", len(slow))
		}
		close(release)
		synctest.Wait()
		// What it had not taken was replaced by what came later.
		if len(slow) > 7 {
			t.Errorf("the slow subscriber got %d events: %q", len(slow), brief(slow))
		}
		last := map[int]breaker.State{}
		for _, ev := range slow {
			last[ev.Conn] = ev.To
		}
		if last[-1] != breaker.Healthy || last[0] != breaker.Healthy || last[1] != breaker.Healthy {
			t.Errorf("the slow subscriber believes %v", last)
		}
	})
}

func TestEventsEndWithTheirContextAndWithThePool(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		count := func(seq iter.Seq[breaker.Event], n *int, over chan<- struct{}) {
			defer close(over)
			for range seq {
				*n++
			}
		}
		var first, second int
		firstOver, secondOver := make(chan struct{}), make(chan struct{})
		go count(p.Events(ctx), &first, firstOver)
		go count(p.Events(t.Context()), &second, secondOver)
		synctest.Wait()
		cancel()
		<-firstOver
		if first != 3 {
			t.Errorf("%d events", first)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-secondOver
		if second != 6 {
			t.Errorf("%d events; want three more, of the end", second)
		}
		var after []breaker.Event
		for ev := range p.Events(t.Context()) { // ends by itself
			after = append(after, ev)
		}
		for _, ev := range after {
			if ev.To != breaker.Draining || !errors.Is(ev.Cause, pool.ErrClosed) {
				t.Errorf("of a closed pool: %+v", ev)
			}
		}
	})
}
