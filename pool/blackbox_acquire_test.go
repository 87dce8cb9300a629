package pool_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/enclavepool/enclavepool/pool"
)

// served notes the order in which callers got their slots.
type served struct {
	mu    sync.Mutex
	order []int
	errs  map[int]error
}

func (s *served) add(i int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = append(s.order, i)
	if s.errs == nil {
		s.errs = map[int]error{}
	}
	s.errs[i] = err
}

func (s *served) all() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

func TestWaitersAreServedFirstComeFirstServed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var got served
		// Conn's calls queue with those who acquire. They are noted by the
		// enclave, which has them while they hold the slot.
		svc := &service{seen: func(ctx context.Context) {
			i, err := strconv.Atoi(metadata.ValueFromIncomingContext(ctx, "x-caller")[0])
			got.add(i, err)
		}}
		p, _ := memoryPool(t, svc, single)
		holder := acquire(t, p, "a")
		const n = 50
		for i := range n {
			go func() {
				if i%2 == 1 {
					ctx := metadata.AppendToOutgoingContext(t.Context(), "x-caller", strconv.Itoa(i))
					if _, err := client(p, "a").EmptyCall(ctx, &grpc_testing.Empty{}); err != nil {
						t.Errorf("call %d: %v", i, err)
					}
					return
				}
				l, err := p.Acquire(t.Context(), "a")
				got.add(i, err)
				if err == nil {
					l.Release()
				}
			}()
			synctest.Wait()
			if s := stats(p, "a"); s.Waiters != i+1 {
				t.Fatalf("Waiters = %d; want %d", s.Waiters, i+1)
			}
		}
		holder.Release()
		synctest.Wait()
		order := got.all()
		for i := range n {
			if i >= len(order) || order[i] != i || got.errs[i] != nil {
				t.Fatalf("served in the order %v, errors %v", order, got.errs)
			}
		}
		if s := stats(p, "a"); s.InFlight != 0 || s.Waiters != 0 || s.Acquires != n+1 || s.Exhausted != 0 {
			t.Errorf("InFlight %d, Waiters %d, Acquires %d, Exhausted %d; want 0, 0, %d, 0", s.InFlight, s.Waiters, s.Acquires, s.Exhausted, n+1)
		}
	})
}

func TestACancelledWaiterLeavesTheQueueAndTheOthersKeepTheirOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, single)
		holder := acquire(t, p, "a")
		var got served
		cancels := make([]context.CancelFunc, 6)
		for i := range cancels {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cancels[i] = cancel
			go func() {
				l, err := p.Acquire(ctx, "a")
				got.add(i, err)
				if err == nil {
					l.Release()
				}
			}()
			synctest.Wait()
		}
		gone := []int{0, 3, 5} // the first, one in the middle, the last
		for _, i := range gone {
			cancels[i]()
			synctest.Wait()
			poolError(t, got.errs[i], "a", context.Canceled, codes.Canceled)
		}
		if s := stats(p, "a"); s.Waiters != 3 {
			t.Errorf("Waiters = %d; want 3", s.Waiters)
		}
		holder.Release()
		synctest.Wait()
		if want := []int{0, 3, 5, 1, 2, 4}; !slices.Equal(got.all(), want) {
			t.Errorf("ended in the order %v; want %v", got.all(), want)
		}
		checkFree(t, p, "a", 1)
	})
}

func TestWithMaxWaitersZeroNobodyQueues(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, func(cfg *pool.Config) {
			single(cfg)
			cfg.MaxWaiters = 0
		})
		l := acquire(t, p, "a")
		defer l.Release()
		start := time.Now()
		_, err := p.Acquire(t.Context(), "a")
		poolError(t, err, "a", pool.ErrExhausted, codes.ResourceExhausted)
		_, err = client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		if e := poolError(t, err, "a", pool.ErrExhausted, codes.ResourceExhausted); e.Disposition != pool.NotSent {
			t.Errorf("disposition %v; want not_sent", e.Disposition)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v; want at once", took)
		}
		if s := stats(p, "a"); s.Exhausted != 2 || s.Acquires != 1 {
			t.Errorf("Exhausted, Acquires = %d, %d; want 2, 1", s.Exhausted, s.Acquires)
		}
	})
}

func TestOneWaiterTooManyGetsErrExhausted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, func(cfg *pool.Config) {
			single(cfg)
			cfg.MaxWaiters = 2
		})
		holder := acquire(t, p, "a")
		var got served
		for i := range 2 {
			go func() {
				l, err := p.Acquire(t.Context(), "a")
				got.add(i, err)
				if err == nil {
					l.Release()
				}
			}()
			synctest.Wait()
		}
		_, err := p.Acquire(t.Context(), "a")
		poolError(t, err, "a", pool.ErrExhausted, codes.ResourceExhausted)
		if said := err.Error(); !strings.Contains(said, "1 of 1 slots in use, 2 of at most 2 waiters queued") {
			t.Errorf("%q does not say how long the queue is and may be", said)
		}
		holder.Release()
		synctest.Wait()
		if got.errs[0] != nil || got.errs[1] != nil || len(got.all()) != 2 {
			t.Errorf("those in the queue: %v", got.errs)
		}
	})
}

func TestAcquireTimeoutEndsTheWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const timeout = 40 * time.Millisecond
		p, _ := memoryPool(t, &service{}, func(cfg *pool.Config) {
			single(cfg)
			cfg.AcquireTimeout = timeout
		})
		l := acquire(t, p, "a")
		start := time.Now()
		_, err := p.Acquire(t.Context(), "a")
		poolError(t, err, "a", pool.ErrExhausted, codes.ResourceExhausted)
		if took := time.Since(start); took != timeout {
			t.Errorf("waited %v; want %v", took, timeout)
		}
		// A context that ends first is what the error wraps.
		ctx, cancel := context.WithTimeout(t.Context(), timeout/2)
		defer cancel()
		_, err = p.Acquire(ctx, "a")
		poolError(t, err, "a", context.DeadlineExceeded, codes.DeadlineExceeded)
		if s := stats(p, "a"); s.Exhausted != 1 || s.Waiters != 0 {
			t.Errorf("Exhausted, Waiters = %d, %d; want 1, 0", s.Exhausted, s.Waiters)
		}
		l.Release()
		checkFree(t, p, "a", 1)
	})
}

func TestAnExpiredContextGetsAFreeSlotAndElseFailsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, single)
		l, err := p.Acquire(expired(), "a")
		if err != nil {
			t.Fatalf("with a slot free: %v", err)
		}
		start := time.Now()
		_, err = p.Acquire(expired(), "a")
		poolError(t, err, "a", context.Canceled, codes.Canceled)
		ctx, cancel := context.WithDeadline(t.Context(), start.Add(-time.Second))
		defer cancel()
		_, err = p.Acquire(ctx, "a")
		poolError(t, err, "a", context.DeadlineExceeded, codes.DeadlineExceeded)
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v; want at once", took)
		}
		l.Release()
	})
}

func TestSlotsAreSpreadAndNeverMoreThanTheLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, func(cfg *pool.Config) {
			cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 3, 3, 7
		})
		if s := stats(p, "a"); s.Capacity != 21 {
			t.Fatalf("Capacity = %d; want 21", s.Capacity)
		}
		checkFree(t, p, "a", 21)
		var leases []*pool.Lease
		for range 21 {
			leases = append(leases, acquire(t, p, "a"))
		}
		for _, c := range stats(p, "a").Connections {
			if c.InFlight != 7 || c.Limit != 7 {
				t.Errorf("connection %d: %d of %d in flight; want 7 of 7", c.Index, c.InFlight, c.Limit)
			}
		}
		for _, l := range leases {
			l.Release()
		}
	})
}

func TestConcurrentCallsAllSucceedBeyondTheCapacity(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		p, _ := memoryPool(t, svc, func(cfg *pool.Config) {
			cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 2, 2, 3
		})
		errs := make(chan error, 60)
		for range cap(errs) {
			go func() {
				_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
				errs <- err
			}()
		}
		synctest.Wait()
		if s := stats(p, "a"); s.InFlight != 6 || s.Waiters != 54 || svc.running.Load() != 6 {
			t.Errorf("InFlight %d, Waiters %d, at the enclave %d; want 6, 54, 6", s.InFlight, s.Waiters, svc.running.Load())
		}
		close(svc.hold)
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if s := stats(p, "a"); s.InFlight != 0 || svc.most.Load() != 6 {
			t.Errorf("InFlight %d; at most %d at once, want 6", s.InFlight, svc.most.Load())
		}
	})
}
