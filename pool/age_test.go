package pool_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// aging is an enclave in memory that ends connections at an age, ±10 %, and gives calls in flight a minute from then.
func aging(t *testing.T, age time.Duration) *pooltest.Enclave {
	params := keepalive.ServerParameters{MaxConnectionAge: age, MaxConnectionAgeGrace: time.Minute}
	return pooltest.NewMemory(t, (&service{}).register, pooltest.WithServerOptions(grpc.KeepaliveParams(params)))
}

func TestAConnectionThatTheEnclaveRetiresIsReplacedFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := aging(t, time.Minute)
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 8, 8
		p := newPool(t, cfg, pool.WithDialer(e.Dialer()))
		ready(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := follow(ctx, p)
		f.take()
		time.Sleep(time.Hour)
		want(t, "an hour later", f.take()) // nothing was ever missing, from the first on
		s := stats(p, "a")
		if s.HealthyConns != 8 || s.Reconnects != 0 || s.Dials < 8*50 || s.Dials > 8*70 || e.Conns() != 8 {
			t.Errorf("an hour later: %d Healthy, %d open, %d Reconnects, %d dials", s.HealthyConns, e.Conns(), s.Reconnects, s.Dials)
		}
	})
}

// One connection, dials that take a while, and an enclave that ends the connection again and again: nobody waits for a
// dial, from the first time on, and a stream that was open goes on.
func TestNobodyWaitsForTheSuccessorOfTheOnlyConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := aging(t, 2*time.Second)
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns, cfg.RequestTimeout = 1, 1, 0
		dial := e.Dialer()
		p := newPool(t, cfg, pool.WithDialer(func(ctx context.Context, target string) (net.Conn, error) {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return dial(ctx, target)
		}))
		ready(t, p)
		stream, err := client(p, "a").FullDuplexCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		talk := func() {
			if err := stream.Send(message("digest")); err != nil {
				t.Fatalf("Send: %v", err)
			}
			if _, err := stream.Recv(); err != nil {
				t.Fatalf("Recv: %v", err)
			}
		}
		for range 10_000 { // 50 seconds
			time.Sleep(5 * time.Millisecond)
			start := time.Now()
			if _, err := client(p, "a").EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 0 {
				t.Fatalf("a call took %v at %d dials", took, stats(p, "a").Dials)
			}
			talk()
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if s := stats(p, "a"); s.Dials < 20 || s.Reconnects != 0 {
			t.Errorf("%d dials, %d Reconnects in 25 times the age", s.Dials, s.Reconnects)
		}
	})
}

// An enclave that is stopped closes its listener first, so there will be no successor: it is not made to wait.
func TestAStoppingEnclaveIsNotKeptWaiting(t *testing.T) {
	for name, hang := range map[string]bool{"nobody listens": false, "attempts hang": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e := pooltest.NewMemory(t, (&service{}).register)
				cfg := config(e)
				cfg.MinConns, cfg.MaxConns, cfg.Health.Interval = 32, 32, time.Minute // probes would be answered, and bring bytes
				dial := e.Dialer()
				var hanging atomic.Bool
				p := newPool(t, cfg, pool.WithDialer(func(ctx context.Context, target string) (net.Conn, error) {
					if hanging.Load() {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					return dial(ctx, target)
				}))
				ready(t, p)
				time.Sleep(time.Second)
				hanging.Store(hang)
				start := time.Now()
				e.GracefulStop()
				took := time.Since(start)
				if most := cfg.DialTimeout + 10*time.Millisecond; took > most || !hang && took > 10*time.Millisecond {
					t.Errorf("GracefulStop with nothing in flight took %v", took)
				}
				synctest.Wait()
				if s := stats(p, "a"); s.HealthyConns != 0 {
					t.Errorf("%d connections are Healthy", s.HealthyConns)
				}
				hanging.Store(false)
				e.Restart()
				ready(t, p)
			})
		})
	}
}

// An enclave that warns on every connection, once or without end, is dialled no more often than one that closes them.
func TestAnEnclaveThatAlwaysWarnsIsNotDialledWithoutPause(t *testing.T) {
	for name, once := range map[string]bool{"once": true, "without end": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e := pooltest.NewMemory(t, (&service{}).register)
				cfg := config(e)
				cfg.MinConns, cfg.MaxConns = 1, 1
				var in injectors
				p := newPool(t, cfg, in.dialer(e))
				ready(t, p)
				start := time.Now()
				for range 2000 {
					in.inject([]byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0})
					if once {
						in.forget()
					}
					if _, err := client(p, "a").EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Millisecond)
				}
				s, took := stats(p, "a"), time.Since(start)
				// One in its turn every 20 ms, and what the allowance for single losses has: 32 at once and 25 a second.
				turns, allowed := uint64(took/(20*time.Millisecond))+2, 32+uint64(25*took.Seconds())
				if s.Dials < 20 || s.Dials > turns+allowed {
					t.Errorf("%d dials in %v, want %d at most", s.Dials, took, turns+allowed)
				}
			})
		})
	}
}

// A drain finds connections that the enclave is about to close: nothing replaces them until it is taken back.
func TestADrainGoesBeforeASuccessor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := aging(t, time.Second)
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 1, 1
		dial := e.Dialer()
		p := newPool(t, cfg, pool.WithDialer(func(ctx context.Context, target string) (net.Conn, error) {
			time.Sleep(100 * time.Millisecond)
			return dial(ctx, target)
		}))
		ready(t, p)
		l := acquire(t, p, "a")
		before := stats(p, "a").Dials
		for stats(p, "a").Dials == before {
			time.Sleep(10 * time.Millisecond) // until the successor is on its way
		}
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(within(t, patience), "a") }()
		time.Sleep(5 * time.Second)
		if s := stats(p, "a"); s.Dials != before+1 || s.HealthyConns != 0 {
			t.Errorf("while draining: %d dials, %d Healthy", s.Dials-before, s.HealthyConns)
		}
		l.Release()
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if err := p.Resume("a"); err != nil {
			t.Fatal(err)
		}
		ready(t, p)
		if _, err := client(p, "a").EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
			t.Error(err)
		}
	})
}
