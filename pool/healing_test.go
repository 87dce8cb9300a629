package pool_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// Fault 2: never more than 50 attempts a second, or 4 at once, on an enclave
// that is away, the moment of its death included.
func TestAnEnclaveThatIsAwayHasFewAttemptsToBear(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register)
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 32, 32
		var mu sync.Mutex
		var attempts []time.Time
		var under, most, counting atomic.Int64
		dial := func(ctx context.Context, target string) (net.Conn, error) {
			n := under.Add(1)
			defer under.Add(-1)
			if counting.Load() == 1 {
				mu.Lock()
				attempts = append(attempts, time.Now())
				mu.Unlock()
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
			}
			return e.Dialer()(ctx, target)
		}
		p := newPool(t, cfg, pool.WithDialer(dial))
		ready(t, p)
		time.Sleep(time.Second)
		counting.Store(1)
		e.Stop()
		time.Sleep(10 * time.Second)
		counting.Store(0)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for i := range attempts {
			n := 0
			for j := i; j < len(attempts) && attempts[j].Sub(attempts[i]) < time.Second; j++ {
				n++
			}
			if n > 50 {
				t.Fatalf("%d attempts in the second from %v", n, attempts[i].Sub(attempts[0]))
			}
		}
		if len(attempts) < 400 || most.Load() > 4 {
			t.Errorf("%d attempts in ten seconds, %d at once; want nearly 50 a second, at most 4", len(attempts), most.Load())
		}
		e.Restart()
		start := time.Now()
		ready(t, p)
		if took := time.Since(start); took > 25*time.Millisecond {
			t.Errorf("all back after %v", took)
		}
	})
}

// An attempt that began while the enclave was away may hang until it times out;
// the first connection that comes about makes all such be made anew.
func TestAttemptsThatHangDoNotDelayTheReturn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register)
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 16, 16
		var away atomic.Bool
		dial := func(ctx context.Context, target string) (net.Conn, error) {
			if away.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return e.Dialer()(ctx, target)
		}
		p := newPool(t, cfg, pool.WithDialer(dial))
		ready(t, p)
		time.Sleep(time.Second)
		for i := range 20 {
			away.Store(true)
			e.Stop()
			time.Sleep(3*time.Second + time.Duration(i)*10*time.Millisecond)
			e.Restart()
			away.Store(false)
			start := time.Now()
			ready(t, p)
			// At worst one of the four that hang has just begun.
			if took := time.Since(start); took > 160*time.Millisecond {
				t.Errorf("all back after %v", took)
			}
			time.Sleep(time.Second)
		}
	})
}

// A repetition that finds no connection does not make the first attempt unsent.
func TestACallThatWasSentOnceIsNotCalledUnsentForWantOfAConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		defer close(svc.hold)
		p, e := memoryPool(t, svc, nil, pool.WithServiceConfig(retryUnaryCall))
		call := make(chan error, 1)
		go func() {
			_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
			call <- err
		}()
		synctest.Wait()
		e.Stop()
		pe := poolError(t, <-call, "a", pool.ErrUnavailable, codes.Unavailable)
		if pe.Disposition != pool.Unknown {
			t.Errorf("it was sent, and failed with %v: %v", pe.Disposition, pe)
		}
	})
}
