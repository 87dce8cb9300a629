package pool_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

func TestAnEnclaveThatRetiresConnectionsForTheirAgeDoesSoOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		age := keepalive.ServerParameters{MaxConnectionAge: time.Minute}
		e := pooltest.NewMemory(t, (&service{}).register, pooltest.WithServerOptions(grpc.KeepaliveParams(age)))
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 8, 8
		p := newPool(t, cfg, pool.WithDialer(e.Dialer()))
		ready(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := follow(ctx, p)
		f.take()

		time.Sleep(67 * time.Second) // a minute, and the tenth that the server adds
		lost := 0
		for _, ev := range f.take() {
			if ev.To != breaker.Healthy {
				lost++
			}
		}
		// Those that the server happened to retire in the same moment.
		if lost == 0 || lost > 3 {
			t.Errorf("%d of 8 connections were lost to their age", lost)
		}
		time.Sleep(time.Hour)
		want(t, "an hour later", f.take()) // replaced before, so nothing was ever missing
		s := stats(p, "a")
		if s.HealthyConns != 8 || s.Reconnects != uint64(lost) || s.Dials < 500 {
			t.Errorf("an hour later: %d Healthy, %d Reconnects, %d dials", s.HealthyConns, s.Reconnects, s.Dials)
		}
	})
}
