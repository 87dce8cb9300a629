package pool_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// What idle streams do to the rest of the pool: nothing.

func TestIdleStreamsAreNotProbedMoreThanIdleConnections(t *testing.T) {
	probes := func(opts ...pool.StreamOption) (n int64) {
		bubble(t, func(t *testing.T) {
			var checks atomic.Int64
			e := pooltest.NewMemory(t, exchangeService(nil), pooltest.WithServerOptions(grpc.UnaryInterceptor(
				func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
					if strings.HasSuffix(info.FullMethod, "/Check") {
						checks.Add(1)
					}
					return next(ctx, req)
				})))
			p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
			ready(t, p)
			ss := pool.NewStreams(p, pooltest.OpenExchange, opts...)
			time.Sleep(10 * time.Second)
			mustExchange(t, ss, "x") // whether or not one has just been used
			time.Sleep(10 * time.Second)
			n = checks.Load()
			time.Sleep(time.Minute)
			n = checks.Load() - n
		})
		return n
	}
	without, with := probes(pool.WithMinStreams(0), pool.WithStreamIdleTimeout(time.Second)), probes(pool.WithMinStreams(20))
	if with > without+4 || without < 60 {
		t.Errorf("%d probes in a minute with idle streams, %d without", with, without)
	}
}

func TestIdleStreamsDoNotMakeThePoolGrow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, p, _ := warm(t, nil, func(cfg *pool.Config) {
			cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 1, 4, 8
		}, pool.WithMinStreams(30))
		time.Sleep(time.Minute)
		if n := warmStats(ss).Idle; n != 8 {
			t.Fatalf("%d idle streams, want one for each of 8 slots", n)
		}
		for range 100 {
			if _, err := client(p, "a").EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if s := stats(p, "a"); s.Conns != 1 || s.Exhausted != 0 {
			t.Errorf("%d connections, %d callers turned away", s.Conns, s.Exhausted)
		}
		// What is busy counts.
		for range 8 {
			s, err := ss.Acquire(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			defer s.Release()
		}
		if _, err := client(p, "a").EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if s := stats(p, "a"); s.Conns < 2 {
			t.Errorf("%d connections with every slot busy", s.Conns)
		}
	})
}

func TestIdleStreamsBeyondALoweredLimitAreClosed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, exchangeService(nil), pooltest.WithMaxConcurrentStreams(100))
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 2, 2
		var in injectors
		p := newPool(t, cfg, in.dialer(e))
		ready(t, p)
		ss := pool.NewStreams(p, pooltest.OpenExchange, pool.WithMinStreams(20))
		synctest.Wait()
		in.inject(settingsFrame(4))
		for range 4 {
			mustExchange(t, ss, "x") // something has to arrive for the frame to be read
			if _, err := client(p, "a").EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second) // and the probes
		for _, c := range stats(p, "a").Connections {
			if c.Limit != 3 || c.InFlight > c.Limit {
				t.Errorf("connection %d: %d of %d slots in use", c.Index, c.InFlight, c.Limit)
			}
		}
		mustExchange(t, ss, "x")
	})
}

func TestTheOnlyStreamThatAServerAllowsIsNotKeptFromProbes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, exchangeService(nil), pooltest.WithMaxConcurrentStreams(1))
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
		ready(t, p)
		ss := pool.NewStreams(p, pooltest.OpenExchange)
		for range 20 {
			mustExchange(t, ss, "x")
			time.Sleep(time.Second)
		}
		if s := stats(p, "a"); s.InFlight != 0 || s.Ejections != 0 {
			t.Errorf("%d slots in use, %d ejections", s.InFlight, s.Ejections)
		}
		for _, c := range stats(p, "a").Connections {
			if time.Since(c.LastRead) > 2*time.Second {
				t.Errorf("connection %d has been silent for %v", c.Index, time.Since(c.LastRead))
			}
		}
	})
}
