package pool_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
	"github.com/enclavepool/enclavepool/routing"
)

// town is a pool whose enclaves, by target, can be put under any ID.
func town(t *testing.T, n int, opts ...pool.Option) (*pool.Pool, pool.Config, []*pooltest.Enclave) {
	t.Helper()
	var all []*pooltest.Enclave
	for range n {
		all = append(all, pooltest.NewMemory(t, (&service{}).register))
	}
	cfg := config(all[0])
	p := newPool(t, cfg, append([]pool.Option{pool.WithDialer(pooltest.DialerFor(all...))}, opts...)...)
	ready(t, p)
	return p, cfg, all
}

func update(t *testing.T, p *pool.Pool, cfg pool.Config) {
	t.Helper()
	if err := p.Update(cfg); err != nil {
		t.Fatalf("Update: %v", err)
	}
	ready(t, p)
	synctest.Wait()
}

func TestABadConfigChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, cfg, _ := town(t, 2)
		before := stats(p, "a")
		bad := cfg
		bad.MinConns, bad.DialTimeout = 0, 0
		bad.Enclaves = []pool.Enclave{{ID: "b", Target: ""}, {ID: "", Target: "x"}}
		err := p.Update(bad)
		var fe *pool.FieldError
		if !errors.Is(err, pool.ErrConfig) || !errors.As(err, &fe) {
			t.Fatalf("Update: %v", err)
		}
		for _, field := range []string{"MinConns", "DialTimeout", "Enclaves[1].ID"} {
			if !strings.Contains(err.Error(), field) {
				t.Errorf("%v\nsays nothing of %s", err, field)
			}
		}
		time.Sleep(time.Minute)
		if s := stats(p, "a"); s.Dials != before.Dials || s.HealthyConns != 2 || len(p.Stats().Enclaves) != 1 {
			t.Errorf("a bad config changed %+v to %+v", before, s)
		}
		everyKindOfCall(t.Context(), t, client(p, "a"))
	})
}

func TestSettingsTakeEffectOnTheConnectionsThatAreThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, cfg, _ := town(t, 1)
		if err := p.Resize("a", 4, 4); err != nil {
			t.Fatal(err)
		}
		ready(t, p)
		cfg.MaxConcurrentStreams = 7
		update(t, p, cfg)
		s := stats(p, "a")
		if s.MinConns != 2 || s.MaxConns != cfg.MaxConns {
			t.Errorf("sizes %d–%d: Update has to replace Resize", s.MinConns, s.MaxConns)
		}
		if s.HealthyConns != 4 && cfg.MaxConns >= 4 || s.Capacity != 7*s.HealthyConns {
			t.Errorf("%d connections, capacity %d; want 7 slots each", s.HealthyConns, s.Capacity)
		}
		dials := s.Dials

		cfg.MaxConcurrentStreams, cfg.MaxConns, cfg.MinConns, cfg.MaxWaiters = 1, 1, 1, 0
		cfg.RequestTimeout = 70 * time.Millisecond
		update(t, p, cfg)
		synctest.Wait()
		if s := stats(p, "a"); s.HealthyConns != 1 || s.Capacity != 1 || s.Dials != dials {
			t.Errorf("%d connections, capacity %d, %d dials", s.HealthyConns, s.Capacity, s.Dials-dials)
		}
		l := acquire(t, p, "a")
		_, err := p.Acquire(t.Context(), "a")
		poolError(t, err, "a", pool.ErrExhausted, codes.ResourceExhausted) // nobody queues
		cfg.MaxWaiters, cfg.AcquireTimeout = 1, 30*time.Millisecond
		update(t, p, cfg)
		start := time.Now()
		_, err = p.Acquire(t.Context(), "a")
		poolError(t, err, "a", pool.ErrExhausted, codes.ResourceExhausted)
		if took := time.Since(start); took != 30*time.Millisecond {
			t.Errorf("AcquireTimeout took effect after %v", took)
		}
		l.Release()

		cfg.MaxConnAge = time.Second
		update(t, p, cfg)
		time.Sleep(10 * time.Second)
		if s := stats(p, "a"); s.Dials < dials+9 {
			t.Errorf("%d connections in ten seconds with a MaxConnAge of one", s.Dials-dials)
		}
	})
}

func TestAProbePolicyTakesEffectAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, cfg, all := town(t, 1)
		cfg.Health.Disabled = true
		update(t, p, cfg)
		all[0].Freeze()
		time.Sleep(5 * time.Second)
		if s := stats(p, "a"); s.HealthyConns != 2 {
			t.Errorf("probes are off, and %d connections Healthy", s.HealthyConns)
		}
		cfg.Health.Disabled = false
		if err := p.Update(cfg); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if s := stats(p, "a"); s.HealthyConns != 0 || s.Ejections != 2 {
			t.Errorf("probes are on, and %d connections Healthy, %d ejected", s.HealthyConns, s.Ejections)
		}
		all[0].Thaw()
		ready(t, p)
		all[0].SetServing(false)
		time.Sleep(5 * time.Second)
		if s := stats(p, "a"); s.HealthyConns != 0 {
			t.Errorf("NOT_SERVING, and %d connections Healthy", s.HealthyConns)
		}
		cfg.Health.Disabled = true
		update(t, p, cfg) // nobody will ask any more, so they are taken to be well
	})
}

func TestEnclavesComeAndGoAndWhatIsInFlightFinishes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, cfg, all := town(t, 3)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		events := follow(ctx, p)
		events.take()
		held := acquire(t, p, "a")
		waiting := make(chan error, 1)

		next := cfg
		next.Enclaves = []pool.Enclave{{ID: "b", Target: all[1].Target()}}
		update(t, p, next)
		if _, err := p.Acquire(t.Context(), "a"); !errors.Is(err, pool.ErrUnknownEnclave) {
			t.Errorf("a was removed: %v", err)
		}
		everyKindOfCall(t.Context(), t, client(p, "b"))
		everyKindOfCall(t.Context(), t, grpc_testing.NewTestServiceClient(held)) // on a connection of old
		if all[0].Conns() == 0 {
			t.Error("the connection under a lease was closed")
		}
		held.Release()
		synctest.Wait()
		if n := all[0].Conns(); n != 0 {
			t.Errorf("%d connections to a are left", n)
		}
		for _, ev := range events.take() {
			if ev.EnclaveID == "a" && ev.To != breaker.Draining {
				t.Errorf("of a removed enclave: %+v", ev)
			}
		}

		// It comes back, at another target, with its numbers going on.
		cfg.Enclaves = []pool.Enclave{{ID: "a", Target: all[2].Target()}}
		update(t, p, cfg)
		m, _ := p.View().Member("a")
		if m.Epoch != 2 {
			t.Errorf("epoch %d after it was removed and came back", m.Epoch)
		}
		// It moves while its only slot is taken and somebody queues.
		cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 1, 1, 1
		update(t, p, cfg)
		held = acquire(t, p, "a")
		go func() {
			l, err := p.Acquire(t.Context(), "a")
			p.Release(l)
			waiting <- err
		}()
		synctest.Wait()
		if err := p.Cordon("a"); err != nil {
			t.Fatal(err)
		}
		cfg.Enclaves = []pool.Enclave{{ID: "a", Target: all[0].Target()}}
		update(t, p, cfg)
		if err := <-waiting; err != nil {
			t.Errorf("queued while its enclave moved: %v", err)
		}
		if m, _ := p.View().Member("a"); !m.Cordoned || m.Epoch != 3 || m.State != breaker.Healthy {
			t.Errorf("moved: %+v", m)
		}
		held.Release()
		synctest.Wait()
		if all[2].Conns() != 0 || all[0].Conns() != 1 {
			t.Errorf("%d connections to the old target, %d to the new", all[2].Conns(), all[0].Conns())
		}
		seq := uint64(0)
		for _, ev := range events.take() {
			if ev.EnclaveID == "a" {
				if ev.Seq <= seq {
					t.Errorf("%+v after Seq %d", ev, seq)
				}
				seq = ev.Seq
			}
		}
	})
}

func TestADrainOutlastsAnUpdate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, cfg, all := town(t, 2)
		if err := p.Drain(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		for _, target := range []string{all[0].Target(), all[1].Target()} { // the same, then another
			cfg.Enclaves[0].Target, cfg.MaxConcurrentStreams = target, cfg.MaxConcurrentStreams-1
			if err := p.Update(cfg); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			_, err := p.Acquire(t.Context(), "a")
			poolError(t, err, "a", pool.ErrDraining, codes.Unavailable)
			if s := stats(p, "a"); s.State != breaker.Draining || s.Conns != 0 {
				t.Errorf("%v with %d connections", s.State, s.Conns)
			}
		}
		if err := p.Resume("a"); err != nil {
			t.Fatal(err)
		}
		ready(t, p)
		everyKindOfCall(t.Context(), t, client(p, "a"))
	})
}

func TestCloseCutsWhatAnUpdateHasLeftInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, cfg, all := town(t, 2)
		held := acquire(t, p, "a")
		cfg.Enclaves[0].Target = all[1].Target()
		update(t, p, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := p.Close(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 1200*time.Millisecond {
			t.Errorf("Close: %v after %v", err, time.Since(start))
		}
		held.Release()
		if err := p.Update(cfg); !errors.Is(err, pool.ErrClosed) {
			t.Errorf("Update of a closed pool: %v", err)
		}
	})
}

// Fault: a thousand reloads under load, enclaves removed, moved, resized.
func TestNoCallFailsThroughAThousandUpdates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, cfg, all := town(t, 3)
		cfg.MaxConns = 4
		keep := pool.Enclave{ID: "b", Target: all[1].Target()}
		cfg.Enclaves = append(cfg.Enclaves, keep)
		update(t, p, cfg)
		var stop atomic.Bool
		var callers sync.WaitGroup
		var calls atomic.Int64
		for i := range 8 {
			callers.Go(func() {
				c := client(p, "a")
				if i%4 == 3 {
					c = grpc_testing.NewTestServiceClient(p.Routed(routing.NewRendezvous(routing.WithSpill(1))))
				}
				for n := 0; !stop.Load(); n++ {
					ctx, cancel := context.WithTimeout(routing.WithKey(context.Background(), fmt.Sprint(n)), time.Minute)
					call := unary
					if n%2 == 1 {
						call = exchange
					}
					if err := call(ctx, c); err != nil {
						t.Errorf("call %d: %v", n, err)
					}
					cancel()
					calls.Add(1)
					time.Sleep(time.Millisecond)
				}
			})
		}
		for i := range 1000 {
			next := cfg
			next.MinConns = 1 + i%3
			next.MaxConns = next.MinConns + i%2
			next.MaxConcurrentStreams = 5 + i%50
			next.Enclaves = []pool.Enclave{{ID: "a", Target: all[i/3%2*2].Target()}}
			if i%2 == 0 {
				next.Enclaves = append(next.Enclaves, keep)
			}
			if err := p.Update(next); err != nil {
				t.Fatalf("update %d: %v", i, err)
			}
			time.Sleep(time.Duration(i%7) * time.Millisecond)
		}
		stop.Store(true)
		callers.Wait()
		if calls.Load() < 1000 {
			t.Errorf("only %d calls", calls.Load())
		}
		update(t, p, cfg)
		synctest.Wait()
		for id, s := range p.Stats().Enclaves {
			if s.InFlight != 0 || s.HealthyConns < 2 || s.Ejections != 0 {
				t.Errorf("%s: %+v", id, s)
			}
		}
	})
}
