package pool_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
	"github.com/enclavepool/enclavepool/routing"
)

// fleet is a pool of n enclaves, whose names are a, b, ….
type fleet struct {
	*pool.Pool
	services []*service
	enclaves map[string]*pooltest.Enclave
}

func newFleet(t *testing.T, n int, change func(*pool.Config), opts ...pool.Option) *fleet {
	t.Helper()
	f := &fleet{enclaves: map[string]*pooltest.Enclave{}}
	var all []*pooltest.Enclave
	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns = 2, 2
	for i := range n {
		svc := &service{}
		e := pooltest.NewMemory(t, svc.register)
		id := string(rune('a' + i))
		f.services, f.enclaves[id], all = append(f.services, svc), e, append(all, e)
		cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: id, Target: e.Target()})
	}
	if change != nil {
		change(&cfg)
	}
	f.Pool = newPool(t, cfg, append([]pool.Option{pool.WithDialer(pooltest.DialerFor(all...))}, opts...)...)
	ready(t, f.Pool)
	return f
}

// served makes a routed call and returns who served it: the enclave whose
// target the answer came from.
func (f *fleet) served(ctx context.Context, sel routing.Selector, key string) (string, error) {
	var from peer.Peer
	_, err := grpc_testing.NewTestServiceClient(f.Routed(sel)).UnaryCall(routing.WithKey(ctx, key),
		&grpc_testing.SimpleRequest{Payload: body(32)}, grpc.Peer(&from))
	if err != nil {
		return "", err
	}
	for id, e := range f.enclaves {
		if e.Target() == from.Addr.String() {
			return id, nil
		}
	}
	return "", fmt.Errorf("served by %v", from.Addr)
}

// owner returns the enclave that serves key when all is well.
func (f *fleet) owner(t *testing.T, key string) string {
	t.Helper()
	id, err := f.served(t.Context(), routing.NewRendezvous(), key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestARoutedCallGoesWhereTheSelectorSays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 3, nil)
		sel := routing.NewRendezvous()
		used := map[string]int{}
		for i := range 60 {
			key := fmt.Sprint("key ", i)
			want, err := sel.Select(t.Context(), f.View(), key)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := f.served(t.Context(), sel, key); got != want || err != nil {
				t.Errorf("key %d was served by %q (%v), want %q", i, got, err, want)
			}
			used[want]++
		}
		if len(used) != 3 {
			t.Errorf("used %v", used)
		}
		everyKindOfCall(routing.WithKey(t.Context(), "k"), t, grpc_testing.NewTestServiceClient(f.Routed(sel)))
		for id, s := range f.Stats().Enclaves {
			if s.InFlight != 0 {
				t.Errorf("%s: %d in flight", id, s.InFlight)
			}
		}
	})
}

func TestWhatIsWrongWithRoutingIsSaidByName(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, nil)
		broken := errors.New("directory out of reach")
		away := &routing.DirectoryError{Op: "lookup", RetryAfter: time.Second}
		gone := &routing.OwnerError{EnclaveID: "y", State: breaker.Degraded, Gone: true, RetryAfter: time.Second}
		for name, c := range map[string]struct {
			sel    routing.Selector
			key    string
			reason error
			code   codes.Code
		}{
			"no key":               {routing.NewRendezvous(), "", routing.ErrNoKey, codes.InvalidArgument},
			"a failing selector":   {selectorFunc(func(*routing.View) (string, error) { return "", broken }), "k", broken, codes.Internal},
			"an unknown enclave":   {selectorFunc(func(*routing.View) (string, error) { return "z", nil }), "k", pool.ErrUnknownEnclave, codes.NotFound},
			"nobody to choose":     {selectorFunc(func(*routing.View) (string, error) { return "", routing.ErrNoMember }), "k", pool.ErrUnavailable, codes.Unavailable},
			"a directory away":     {selectorFunc(func(*routing.View) (string, error) { return "", away }), "k", pool.ErrUnavailable, codes.Unavailable},
			"an enclave that left": {selectorFunc(func(*routing.View) (string, error) { return "", gone }), "k", pool.ErrUnavailable, codes.Unavailable},
			"a key without place":  {selectorFunc(func(*routing.View) (string, error) { return "", routing.ErrNotPlaced }), "k", routing.ErrNotPlaced, codes.NotFound},
			"no selector":          {nil, "k", pool.ErrSelector, codes.Internal},
			"a selector that dies": {selectorFunc(func(*routing.View) (string, error) { return "", context.DeadlineExceeded }), "k", context.DeadlineExceeded, codes.Internal},
		} {
			_, err := f.served(t.Context(), c.sel, c.key)
			var pe *pool.Error
			if !errors.As(err, &pe) || !errors.Is(err, c.reason) || status.Code(err) != c.code || pe.Disposition != pool.NotSent {
				t.Errorf("%s: %v (%v); want %v as an *Error with %v", name, err, status.Code(err), c.reason, c.code)
			}
			if waits := name == "a directory away" || name == "an enclave that left"; waits != (pe != nil && pe.RetryAfter == time.Second) {
				t.Errorf("%s: %+v; is there a wait?", name, pe)
			}
		}
		if id, err := f.served(t.Context(), routing.NewLeastLoaded(), ""); err != nil {
			t.Errorf("without a key, to the least loaded: %q, %v", id, err)
		}
	})
}

// selectorFunc is a Selector that looks at the View alone.
type selectorFunc func(*routing.View) (string, error)

func (f selectorFunc) Select(_ context.Context, v *routing.View, _ string) (string, error) {
	return f(v)
}

func TestStrictWaitsForItsOwnerUntilTheBudgetIsSpentAndSaysWhenToRetry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 3, nil)
		sel := routing.NewRendezvous(routing.Strict)
		owner := f.owner(t, "k")
		f.enclaves[owner].Stop()
		synctest.Wait()
		start := time.Now()
		_, err := f.served(t.Context(), sel, "k")
		pe := poolError(t, err, owner, pool.ErrUnavailable, codes.Unavailable)
		if took := time.Since(start); took > 201*time.Millisecond || pe.RetryAfter <= 0 || pe.Disposition != pool.NotSent {
			t.Errorf("after %v: %+v", took, pe)
		}
		// From now on at once.
		start = time.Now()
		_, err = f.served(t.Context(), sel, "k")
		poolError(t, err, owner, pool.ErrUnavailable, codes.Unavailable)
		if took := time.Since(start); took != 0 {
			t.Errorf("after the budget it took %v", took)
		}
		// A short loss is not noticed.
		f.enclaves[owner].Restart()
		ready(t, f.Pool)
		time.Sleep(time.Second)
		f.enclaves[owner].Stop()
		synctest.Wait()
		waiting := make(chan error, 1)
		go func() {
			_, err := f.served(t.Context(), sel, "k")
			waiting <- err
		}()
		time.Sleep(50 * time.Millisecond)
		f.enclaves[owner].Restart()
		if err := <-waiting; err != nil {
			t.Errorf("during a loss of 50ms: %v", err)
		}
		if err := f.Drain(t.Context(), owner); err != nil {
			t.Fatal(err)
		}
		_, err = f.served(t.Context(), sel, "k")
		if pe := poolError(t, err, owner, pool.ErrDraining, codes.Unavailable); pe.RetryAfter <= 0 {
			t.Errorf("draining: %+v", pe)
		}
	})
}

func TestSpillFollowsTheSelectorWhileTheOwnerIsAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 3, nil)
		sel := routing.NewRendezvous(routing.WithSpill(1))
		owner := f.owner(t, "k")
		f.enclaves[owner].Stop()
		synctest.Wait()
		start := time.Now()
		second, err := f.served(t.Context(), sel, "k")
		if err != nil || second == owner || time.Since(start) != 0 {
			t.Errorf("the owner %s is away: served by %q after %v, %v", owner, second, time.Since(start), err)
		}
		f.enclaves[second].Stop()
		synctest.Wait()
		if third, err := f.served(t.Context(), sel, "k"); err == nil {
			t.Errorf("WithSpill(1) went as far as %s", third)
		}
		f.enclaves[owner].Restart()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for s := stats(f.Pool, owner); s.Capacity == 0; s = stats(f.Pool, owner) {
			time.Sleep(time.Millisecond)
		}
		if got, err := f.served(ctx, sel, "k"); got != owner || err != nil {
			t.Errorf("the owner is back: served by %q, %v", got, err)
		}
	})
}

// Callers who queue for an enclave that drops out go where the selector says
// then, at once and without an error.
func TestQueuedCallsMoveToTheNextChoiceWhenTheirEnclaveDropsOut(t *testing.T) {
	for name, dropOut := range map[string]func(*fleet, string){
		"lost":    func(f *fleet, id string) { f.enclaves[id].Stop() },
		"drained": func(f *fleet, id string) { go f.Drain(context.Background(), id) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 2, func(cfg *pool.Config) { cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 1, 1, 1 })
				sel := routing.NewRendezvous(routing.WithSpill(1))
				owner := f.owner(t, "k")
				held := acquire(t, f.Pool, owner)
				const n = 20
				results := make(chan error, n)
				for i := range n {
					go func() {
						ctx, cancel := context.WithTimeout(routing.WithKey(t.Context(), "k"), time.Minute)
						defer cancel()
						c := grpc_testing.NewTestServiceClient(f.Routed(sel))
						if i%2 == 0 {
							results <- unary(ctx, c)
						} else {
							results <- exchange(ctx, c)
						}
					}()
				}
				synctest.Wait()
				if s := stats(f.Pool, owner); s.Waiters != n {
					t.Fatalf("%d callers queue for %s", s.Waiters, owner)
				}
				start := time.Now()
				dropOut(f, owner)
				for range n {
					if err := <-results; err != nil {
						t.Errorf("a queued call: %v", err)
					}
				}
				if took := time.Since(start); took > 10*time.Millisecond {
					t.Errorf("they were served after %v", took)
				}
				held.Release()
			})
		})
	}
}

func TestARoutedCallThatFindsEverythingFullFailsOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, func(cfg *pool.Config) {
			cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 1, 1, 1
			cfg.AcquireTimeout = time.Second
		})
		owner := f.owner(t, "k")
		held := acquire(t, f.Pool, owner)
		defer held.Release()
		start := time.Now()
		_, err := f.served(t.Context(), routing.NewRendezvous(), "k")
		poolError(t, err, owner, pool.ErrExhausted, codes.ResourceExhausted)
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %v, want AcquireTimeout once", took)
		}
	})
}

func TestAnIdempotentCallThatWasSentSurvivesTheLossOfItsEnclave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, nil, pool.WithServiceConfig(retryUnaryCall))
		owner := f.owner(t, "k")
		for name, c := range map[string]struct {
			sel    routing.Selector
			wantTo func(string) bool
		}{
			"strict": {routing.NewRendezvous(), func(id string) bool { return id == owner }},
			"spill":  {routing.NewRendezvous(routing.WithSpill(1)), func(id string) bool { return id != owner }},
		} {
			time.Sleep(time.Minute) // all is well and forgotten
			hold := make(chan struct{})
			for _, s := range f.services {
				s.hold = hold
			}
			type outcome struct {
				id  string
				err error
			}
			call := make(chan outcome, 1)
			go func() {
				id, err := f.served(t.Context(), c.sel, "k")
				call <- outcome{id, err}
			}()
			synctest.Wait() // it is in the hands of the owner
			f.enclaves[owner].Stop()
			time.Sleep(20 * time.Millisecond)
			f.enclaves[owner].Restart()
			time.Sleep(20 * time.Millisecond)
			close(hold)
			if o := <-call; o.err != nil || !c.wantTo(o.id) {
				t.Errorf("%s: served by %q, %v", name, o.id, o.err)
			}
			for _, s := range f.services {
				s.hold = nil
			}
			ready(t, f.Pool)
		}
	})
}
