package pool_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// What a probe says of its time would stay in the header tables of both ends, and let the enclave reset it first.
func TestAProbesDeadlineIsNotToldToTheEnclave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var asked, told atomic.Int64
		look := grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if info.FullMethod == grpc_health_v1.Health_Check_FullMethodName {
				asked.Add(1)
				if _, ok := ctx.Deadline(); ok {
					told.Add(1)
				}
			}
			return next(ctx, req)
		})
		e := pooltest.NewMemory(t, (&service{}).register, pooltest.WithServerOptions(look))
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
		ready(t, p)
		asked.Store(0)
		told.Store(0) // the first of a connection is of its attempt
		time.Sleep(time.Minute)
		if asked.Load() < 10 || told.Load() > 0 {
			t.Errorf("%d probes in a minute, %d with a deadline", asked.Load(), told.Load())
		}
	})
}
