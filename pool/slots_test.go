package pool

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"pgregory.net/rapid"

	"github.com/enclavepool/enclavepool/breaker"
)

// newBareEnclave has connections with the given limits and nothing behind
// them: enough for everything that admission does.
func newBareEnclave(limits ...uint32) *enclave {
	m := &metrics{}
	m.wait, _ = noop.Meter{}.Float64Histogram("")
	r := &record{}
	e := &enclave{
		id:      "bare",
		record:  r,
		metrics: m.forEnclave("bare", r),
		news:    make(chan struct{}),
		began:   time.Now(),
	}
	e.cfg.Store(&settings{maxStreams: maxStreams, maxWaiters: 1 << 20})
	e.keeper = &keeper{e: e, wake: make(chan struct{}, 1)}
	e.waiters.New = func() any { return &waiter{served: make(chan struct{}, 1)} }
	e.status.Store(&enclaveStatus{state: breaker.Healthy})
	conns := []*conn{}
	for i, limit := range limits {
		c := newConn(e, &place{index: i})
		c.ready.Store(true)
		c.slots.setLimit(limit)
		conns = append(conns, c)
	}
	e.admitted.Store(&conns)
	e.open.Store(&conns)
	e.orphans.Store(new([]*conn))
	return e
}

func (e *enclave) lease(ctx context.Context) (*Lease, error) { return e.take(ctx, untilBudget) }

func TestTheWordAgreesWithAPlainCounter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s slotWord
		var used, limit uint32
		var reserved uint64
		if rapid.Bool().Draw(t, "near the carry") {
			s.word.Store(uint64(math.MaxUint32-3) << 32)
			reserved = math.MaxUint32 - 3
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(t *rapid.T) {
				want := used < limit
				serial, got := s.reserve(s.word.Load())
				if got != want || got && serial != uint32(reserved) {
					t.Fatalf("reserve with %d of %d = %d, %v", used, limit, serial, got)
				}
				if want {
					used++
					reserved++
				}
			},
			"release": func(t *rapid.T) {
				if used > 0 {
					s.release()
					used--
				}
			},
			"pass": func(t *rapid.T) {
				if used == 0 {
					return
				}
				want := used <= limit
				serial, got := s.pass()
				if got != want || got && serial != uint32(reserved) {
					t.Fatalf("pass with %d of %d = %d, %v", used, limit, serial, got)
				}
				if want {
					reserved++
				}
			},
			"limit": func(t *rapid.T) {
				limit = rapid.Uint32Range(0, 5).Draw(t, "limit")
				s.setLimit(limit)
			},
			"": func(t *rapid.T) {
				gotUsed, gotLimit := s.load()
				if gotUsed != used || gotLimit != limit || s.reserved() != reserved {
					t.Fatalf("word says %d of %d, %d ever; want %d of %d, %d", gotUsed, gotLimit, s.reserved(), used, limit, reserved)
				}
			},
		})
	})
}

func TestTheQueueAgreesWithASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q waitQueue
		var want []*waiter
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				w := &waiter{}
				q.push(w)
				want = append(want, w)
			},
			"pushFront": func(t *rapid.T) {
				w := &waiter{}
				q.pushFront(w)
				want = append([]*waiter{w}, want...)
			},
			"remove": func(t *rapid.T) {
				if len(want) == 0 {
					return
				}
				i := rapid.IntRange(0, len(want)-1).Draw(t, "which")
				w := want[i]
				want = append(want[:i:i], want[i+1:]...)
				if !q.remove(w) || q.remove(w) {
					t.Fatal("a waiter is to be removed once")
				}
			},
			"": func(t *rapid.T) {
				if q.len() != len(want) {
					t.Fatalf("len = %d, want %d", q.len(), len(want))
				}
				i := 0
				for w := q.first(); w != nil; w, i = w.next, i+1 {
					if w != want[i] {
						t.Fatalf("place %d has the wrong waiter", i)
					}
				}
			},
		})
	})
}

func TestWaitersAreServedInTheOrderOfTheirArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newBareEnclave(2, 1)
		var held []*Lease
		for range 3 {
			l, err := e.lease(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, l)
		}
		var order []int
		leases := make(chan *Lease, 100)
		for i := range 100 {
			go func() {
				l, err := e.lease(t.Context())
				if err != nil {
					t.Error(err)
				}
				order = append(order, i)
				leases <- l
			}()
			synctest.Wait() // it queues before the next one comes
		}
		for _, l := range held {
			l.Release()
			synctest.Wait()
		}
		for range 100 {
			(<-leases).Release()
			synctest.Wait()
		}
		for i, got := range order {
			if got != i {
				t.Fatalf("served in the order %v", order)
			}
		}
		if n := e.inFlight(); n != 0 || e.waiting.Load() != 0 {
			t.Errorf("at the end %d in flight, waiting = %d", n, e.waiting.Load())
		}
	})
}

func TestACancelledWaiterLeavesTheOthersInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newBareEnclave(1)
		first, _ := e.lease(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 1)
		go func() { _, err := e.lease(ctx); errs <- err }()
		synctest.Wait()
		second := make(chan *Lease, 1)
		go func() { l, _ := e.lease(t.Context()); second <- l }()
		synctest.Wait()
		cancel()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled waiter got %v", err)
		}
		first.Release()
		(<-second).Release()
		if n := e.inFlight(); n != 0 {
			t.Errorf("%d in flight at the end", n)
		}
	})
}

func TestAcquireTimeoutAndTheFullQueueAreExhaustion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newBareEnclave(1)
		e.cfg.Load().acquireTimeout, e.cfg.Load().maxWaiters = 30*time.Millisecond, 1
		l, _ := e.lease(t.Context())
		start := time.Now()
		errs := make(chan error, 1)
		go func() { _, err := e.lease(t.Context()); errs <- err }()
		synctest.Wait()
		if _, err := e.lease(t.Context()); !errors.Is(err, ErrExhausted) || time.Since(start) != 0 {
			t.Errorf("with a full queue: %v after %v, want ErrExhausted at once", err, time.Since(start))
		}
		if err := <-errs; !errors.Is(err, ErrExhausted) || time.Since(start) != 30*time.Millisecond {
			t.Errorf("in the queue: %v after %v, want ErrExhausted after 30ms", err, time.Since(start))
		}
		l.Release()
		if n := e.exhausted.Load(); n != 2 {
			t.Errorf("exhausted = %d, want 2", n)
		}
	})
}

func TestALowerLimitAdmitsLessAtOnceAndEvictsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newBareEnclave(3)
		var held []*Lease
		for range 3 {
			l, _ := e.lease(t.Context())
			held = append(held, l)
		}
		c := (*e.admitted.Load())[0]
		c.slots.setLimit(1)
		got := make(chan *Lease, 1)
		go func() { l, _ := e.lease(t.Context()); got <- l }()
		synctest.Wait()
		for i, l := range held {
			if used, limit := c.slots.load(); limit != 1 || int(used) != 3-i {
				t.Fatalf("%d of %d in use with %d leases out", used, limit, 3-i)
			}
			select {
			case <-got:
				t.Fatalf("admitted with %d leases out and a limit of 1", 3-i)
			default:
			}
			l.Release()
			synctest.Wait()
		}
		(<-got).Release()
	})
}

// Many callers come, wait, give up and are served while limits move: what
// holds is that nobody waits beside a free slot, and that nothing is lost.
func TestNoSlotIsLostUnderRandomCancels(t *testing.T) {
	const callers, rounds = 64, 400
	e := newBareEnclave(3, 3, 3, 3)
	var served, gaveUp atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for range rounds {
				ctx, cancel := context.WithCancel(t.Context())
				if rng.IntN(3) == 0 {
					go cancel()
				}
				l, err := e.lease(ctx)
				cancel()
				if err != nil {
					gaveUp.Add(1)
					continue
				}
				served.Add(1)
				if used, _ := l.conn.Load().slots.load(); used > 3 {
					t.Errorf("%d of 3 slots in use", used)
				}
				l.Release()
				l.Release()
			}
		})
	}
	wg.Wait()
	if n := e.inFlight(); n != 0 || e.waiting.Load() != 0 || e.queue.len() != 0 {
		t.Errorf("at the end %d in flight, %d queued, waiting = %d", n, e.queue.len(), e.waiting.Load())
	}
	if got := served.Load() + gaveUp.Load(); got != callers*rounds {
		t.Errorf("%d callers came back, want %d", got, callers*rounds)
	}
}
