package pool_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// retryUnaryCall declares UnaryCall idempotent.
const retryUnaryCall = `{"methodConfig":[{
	"name":[{"service":"grpc.testing.TestService","method":"UnaryCall"}],
	"retryPolicy":{"maxAttempts":5,"initialBackoff":"0.001s","maxBackoff":"0.01s","backoffMultiplier":2,
		"retryableStatusCodes":["UNAVAILABLE"]}}]}`

// TestWithARetryPolicyLostConnectionsCostNoCall drops a connection every 20 ms.
func TestWithARetryPolicyLostConnectionsCostNoCall(t *testing.T) {
	e := pooltest.Start(t, (&service{}).register)
	cfg := socketConfig(e)
	cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 16, 16, 3
	p := newPool(t, cfg, pool.WithServiceConfig(retryUnaryCall))
	ready(t, p)

	var stop atomic.Bool
	var calls, failed atomic.Int64
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			c := client(p, "a")
			for !stop.Load() {
				calls.Add(1)
				if _, err := c.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{Payload: body(32)}); err != nil {
					failed.Add(1)
					t.Logf("call: %v", err)
				}
			}
		})
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	dropped := 0
	for range 100 {
		<-tick.C
		dropped += e.DropConns(1)
	}
	stop.Store(true)
	callers.Wait()
	t.Logf("%d of %d calls failed while %d connections were dropped", failed.Load(), calls.Load(), dropped)
	if dropped < 50 {
		t.Errorf("only %d connections were dropped", dropped)
	}
	if failed.Load() > 0 {
		t.Errorf("%d calls failed", failed.Load())
	}
	eventually(t, "nothing in flight and all connections back", func() bool {
		s := stats(p, "a")
		return s.InFlight == 0 && s.HealthyConns == 16
	})
	checkFree(t, p, "a", 16*3)
}
