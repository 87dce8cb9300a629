package pool_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
	"github.com/enclavepool/enclavepool/routing"
)

// warmFleet is a pool of n enclaves, named a, b, …, that answer with their
// names, and warm streams to all of them.
func warmFleet(t *testing.T, n int, change func(*pool.Config), opts ...pool.StreamOption) (*warmStreams, *pool.Pool, map[string]*pooltest.Enclave) {
	t.Helper()
	enclaves := map[string]*pooltest.Enclave{}
	var all []*pooltest.Enclave
	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns = 2, 2
	for i := range n {
		id := string(rune('a' + i))
		e := pooltest.NewMemory(t, exchangeService(func(context.Context, []byte) ([]byte, error) { return []byte(id), nil }))
		enclaves[id], all = e, append(all, e)
		cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: id, Target: e.Target()})
	}
	if change != nil {
		change(&cfg)
	}
	p := newPool(t, cfg, pool.WithDialer(pooltest.DialerFor(all...)))
	ready(t, p)
	return pool.NewStreams(p, pooltest.OpenExchange, opts...), p, enclaves
}

func routedExchange(ctx context.Context, ss *warmStreams, sel routing.Selector, key string) (string, error) {
	res, err := ss.Routed(sel).Exchange(routing.WithKey(ctx, key), value("?"))
	return string(res.GetValue()), err
}

func TestRoutedExchangesGoWhereTheSelectorSays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, p, _ := warmFleet(t, 3, nil)
		sel := routing.NewRendezvous()
		for i := range 30 {
			key := fmt.Sprint(i)
			want, err := sel.Select(t.Context(), p.View(), key)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := routedExchange(t.Context(), ss, sel, key); got != want || err != nil {
				t.Errorf("key %s: %q, %v; want %q", key, got, err, want)
			}
		}
		if _, err := routedExchange(t.Context(), ss, sel, ""); !errors.Is(err, routing.ErrNoKey) {
			t.Errorf("without a key: %v", err)
		}
	})
}

func TestRoutedExchangesFollowTheSelectorWhenAnEnclaveDropsOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, p, enclaves := warmFleet(t, 3, nil)
		strict, spill := routing.NewRendezvous(), routing.NewRendezvous(routing.WithSpill(2))
		owner, err := routedExchange(t.Context(), ss, strict, "k")
		if err != nil {
			t.Fatal(err)
		}
		enclaves[owner].Stop()
		synctest.Wait()
		start := time.Now()
		second, err := routedExchange(t.Context(), ss, spill, "k")
		if err != nil || second == owner || time.Since(start) != 0 {
			t.Errorf("spilled to %q after %v, %v", second, time.Since(start), err)
		}
		_, err = routedExchange(t.Context(), ss, strict, "k")
		pe := poolError(t, err, owner, pool.ErrUnavailable, codes.Unavailable)
		if pe.RetryAfter <= 0 || pe.Disposition != pool.NotSent || time.Since(start) > 201*time.Millisecond {
			t.Errorf("after %v: %+v", time.Since(start), pe)
		}
		enclaves[owner].Restart()
		ready(t, p)
		if got, err := routedExchange(t.Context(), ss, spill, "k"); got != owner || err != nil {
			t.Errorf("the owner is back: %q, %v", got, err)
		}
	})
}

func TestExchangesThatQueueMoveToTheNextChoiceAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, maxStreams := range []int{1, 5} { // waiting for a stream; for a slot to open one with
			ss, p, enclaves := warmFleet(t, 2, func(cfg *pool.Config) {
				cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 1, 1, 1
			}, pool.WithMaxStreams(maxStreams), pool.WithMinStreams(0))
			spill := routing.NewRendezvous(routing.WithSpill(1))
			owner, err := routedExchange(t.Context(), ss, spill, "k")
			if err != nil {
				t.Fatal(err)
			}
			held, err := ss.Acquire(t.Context(), owner)
			if err != nil {
				t.Fatal(err)
			}
			var callers sync.WaitGroup
			for range 10 {
				callers.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					if got, err := routedExchange(ctx, ss, spill, "k"); got == owner || err != nil {
						t.Errorf("it queued at %s, and %q answered: %v", owner, got, err)
					}
				})
			}
			synctest.Wait()
			start := time.Now()
			enclaves[owner].Stop()
			callers.Wait()
			if took := time.Since(start); took > 10*time.Millisecond {
				t.Errorf("they moved after %v", took)
			}
			held.Release()
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestWarmStreamsFollowAnUpdate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, p, enclaves := warmFleet(t, 2, nil, pool.WithMinStreams(3))
		cfg := pool.DefaultConfig()
		cfg.MinConns, cfg.MaxConns = 2, 2
		at := func(ids ...string) {
			t.Helper()
			cfg.Enclaves = nil
			for _, id := range ids {
				cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: id, Target: enclaves[id].Target()})
			}
			update(t, p, cfg)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		at("a")
		if _, err := ss.Exchange(t.Context(), "b", value("?")); !errors.Is(err, pool.ErrUnknownEnclave) {
			t.Errorf("b was removed: %v", err)
		}
		at("a", "b")
		if s := ss.Stats()["b"]; s.Open != 3 {
			t.Errorf("b is back with %d streams opened ahead, want 3", s.Open)
		}

		// a moves to and fro under load.
		var stop atomic.Bool
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				for !stop.Load() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					if _, err := ss.Exchange(ctx, "a", value("?")); err != nil {
						t.Errorf("while a moved: %v", err)
					}
					cancel()
					time.Sleep(time.Millisecond)
				}
			})
		}
		for i := range 50 {
			cfg.Enclaves = []pool.Enclave{{ID: "a", Target: enclaves[string(rune('a'+i%2))].Target()}}
			update(t, p, cfg)
			time.Sleep(3 * time.Millisecond)
		}
		stop.Store(true)
		callers.Wait()
		if n := len(ss.Stats()); n != 1 {
			t.Errorf("streams to %d enclaves are kept", n)
		}
	})
}
