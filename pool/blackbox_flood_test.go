package pool_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// pings is what no server has reason to send.
var pings = bytes.Repeat([]byte{0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, 1000)

func TestAFloodIsAnEjectionAndItsPlaceRests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{}
		svc.seen = func(context.Context) { time.Sleep(time.Millisecond) }
		e := pooltest.NewMemory(t, svc.register)
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 4, 4
		var in injectors
		var out logBuffer
		p := newPool(t, cfg, in.dialer(e), pool.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
		ready(t, p)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var ejected []breaker.Event
		go func() {
			for ev := range p.Events(ctx) {
				if ev.Signal == breaker.Ejected {
					ejected = append(ejected, ev)
				}
			}
		}()
		in.all[0].inject(pings)
		var wg sync.WaitGroup
		for range 60 { // as many as take all connections
			wg.Go(func() { _, _ = client(p, "a").UnaryCall(within(t, patience), &grpc_testing.SimpleRequest{}) })
		}
		wg.Wait()
		synctest.Wait()
		s := stats(p, "a")
		if s.Ejections != 1 || s.HealthyConns != 3 || s.Dials != 4 {
			t.Fatalf("%d ejections, %d Healthy, %d attempts; want 1, 3, 4", s.Ejections, s.HealthyConns, s.Dials)
		}
		if len(ejected) != 1 || ejected[0].Cause == nil || !strings.Contains(out.String(), "flood") {
			t.Errorf("events %v, log %s", ejected, out.String())
		}
		time.Sleep(cfg.Health.Cooldown - 10*time.Millisecond)
		if s = stats(p, "a"); s.Dials != 4 {
			t.Errorf("%d attempts before the rest is over", s.Dials)
		}
		time.Sleep(50 * time.Millisecond)
		if s = stats(p, "a"); s.HealthyConns != 4 || s.Ejections != 1 {
			t.Errorf("after its rest: %d Healthy, %d ejections; want 4, 1", s.HealthyConns, s.Ejections)
		}
	})
}

func TestAnEnclaveThatFloodsEveryAttemptIsTriedRarely(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register)
		dial := e.Dialer()
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 4, 4
		p := newPool(t, cfg, pool.WithDialer(func(ctx context.Context, target string) (net.Conn, error) {
			c, err := dial(ctx, target)
			if err != nil {
				return nil, err
			}
			in := &injector{Conn: c}
			in.inject(append(settingsFrame(100), pings...))
			return in, nil
		}))
		time.Sleep(10 * time.Second)
		if s := stats(p, "a"); s.HealthyConns != 0 || s.Dials < 20 || s.Dials > 44 {
			t.Errorf("%d Healthy, %d attempts in 10s; want none, one a second for each place", s.HealthyConns, s.Dials)
		}
	})
}
