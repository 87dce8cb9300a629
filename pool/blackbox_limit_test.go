package pool_test

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

func TestTheEnclavesOwnStreamLimitIsRespected(t *testing.T) {
	for _, tt := range []struct {
		advertised uint32 // 0: none
		configured int
		want       int // limit of each of two connections
		shown      int64
	}{
		{3, 100, 2, 3},
		{2, 100, 1, 2},
		{1, 100, 1, 1},
		{50, 10, 10, 50},
		{11, 11, 10, 11},
		{0, 5, 5, -1},
	} {
		bubble(t, func(t *testing.T) {
			svc := &service{hold: make(chan struct{})}
			e := pooltest.NewMemory(t, svc.register, pooltest.WithMaxConcurrentStreams(tt.advertised))
			cfg := config(e)
			cfg.MaxConns, cfg.MaxConcurrentStreams = 2, tt.configured
			p := newPool(t, cfg, pool.WithDialer(e.Dialer()))
			ready(t, p)
			// The last connection may have been admitted before its SETTINGS
			// frame had been read; nothing else is under way.
			synctest.Wait()
			for _, c := range stats(p, "a").Connections {
				if c.Limit != tt.want || c.AdvertisedLimit != tt.shown {
					t.Errorf("advertised %d, configured %d: Limit %d, AdvertisedLimit %d; want %d, %d",
						tt.advertised, tt.configured, c.Limit, c.AdvertisedLimit, tt.want, tt.shown)
				}
			}
			if got := stats(p, "a").Capacity; got != 2*tt.want {
				t.Errorf("Capacity = %d; want %d", got, 2*tt.want)
			}

			// Everything beyond the limit queues in the pool, where it is seen,
			// and not in gRPC; and a saturated connection stays Healthy.
			calls := 2*tt.want + 5
			errs := make(chan error, calls)
			for range calls {
				go func() {
					_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
					errs <- err
				}()
			}
			synctest.Wait()
			time.Sleep(3 * time.Second) // three rounds of probes
			if s := stats(p, "a"); s.InFlight != 2*tt.want || s.Waiters != 5 || svc.running.Load() != int64(s.InFlight) || s.HealthyConns != 2 || s.Ejections != 0 || s.Dials != 2 {
				t.Errorf("advertised %d: InFlight %d, Waiters %d, at the enclave %d, %d Healthy, %d ejections, %d dials; want %d, 5, the same, 2, 0, 2",
					tt.advertised, s.InFlight, s.Waiters, svc.running.Load(), s.HealthyConns, s.Ejections, s.Dials, 2*tt.want)
			}
			close(svc.hold)
			for range calls {
				if err := <-errs; err != nil {
					t.Errorf("advertised %d: %v", tt.advertised, err)
				}
			}
		})
	}
}
