package pool_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
)

// deadlines makes a service that notes how far away each call's deadline was.
func deadlines() (*service, chan time.Duration) {
	seen := make(chan time.Duration, 16)
	return &service{seen: func(ctx context.Context) {
		left := time.Duration(-1)
		if d, ok := ctx.Deadline(); ok {
			left = time.Until(d)
		}
		seen <- left
	}}, seen
}

// bothWays runs a test with the calls of Conn and with those of a Lease.
func bothWays(t *testing.T, change func(*pool.Config), test func(t *testing.T, svc *service, seen chan time.Duration, c grpc_testing.TestServiceClient)) {
	t.Run("Conn", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			svc, seen := deadlines()
			p, _ := memoryPool(t, svc, change)
			test(t, svc, seen, client(p, "a"))
		})
	})
	t.Run("Lease", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			svc, seen := deadlines()
			p, _ := memoryPool(t, svc, change)
			l := acquire(t, p, "a")
			defer l.Release()
			test(t, svc, seen, grpc_testing.NewTestServiceClient(l))
		})
	})
}

func TestRequestTimeoutEndsACallWithoutADeadline(t *testing.T) {
	const timeout = 3 * time.Second
	bothWays(t, func(cfg *pool.Config) { cfg.RequestTimeout = timeout },
		func(t *testing.T, svc *service, seen chan time.Duration, c grpc_testing.TestServiceClient) {
			svc.hold = make(chan struct{})
			start := time.Now()
			_, err := c.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
			if took := time.Since(start); status.Code(err) != codes.DeadlineExceeded || took != timeout {
				t.Errorf("unary: %v after %v; want DeadlineExceeded after %v", err, took, timeout)
			}
			if left := <-seen; left != timeout {
				t.Errorf("unary: the enclave sees a deadline in %v; want %v", left, timeout)
			}

			start = time.Now()
			s, err := c.FullDuplexCall(t.Context())
			opened(t, s, err)
			_, err = s.Recv()
			if took := time.Since(start); status.Code(err) != codes.DeadlineExceeded || took != timeout {
				t.Errorf("stream: %v after %v; want DeadlineExceeded after %v", err, took, timeout)
			}
			if left := <-seen; left != timeout {
				t.Errorf("stream: the enclave sees a deadline in %v; want %v", left, timeout)
			}
		})
}

func TestACallersDeadlineReachesTheEnclaveWhateverRequestTimeoutSays(t *testing.T) {
	bothWays(t, func(cfg *pool.Config) { cfg.RequestTimeout = time.Second },
		func(t *testing.T, _ *service, seen chan time.Duration, c grpc_testing.TestServiceClient) {
			for _, want := range []time.Duration{100 * time.Millisecond, time.Minute} {
				ctx, cancel := context.WithTimeout(t.Context(), want)
				defer cancel()
				if _, err := c.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil {
					t.Fatal(err)
				}
				if left := <-seen; left != want {
					t.Errorf("the enclave sees a deadline in %v; want %v", left, want)
				}
				s, err := c.FullDuplexCall(ctx)
				opened(t, s, err)
				toEOF(t, s)
				if left := <-seen; left != want {
					t.Errorf("stream: the enclave sees a deadline in %v; want %v", left, want)
				}
			}
		})
}

func TestRequestTimeoutZeroSetsNoDeadline(t *testing.T) {
	bothWays(t, func(cfg *pool.Config) { cfg.RequestTimeout = 0 },
		func(t *testing.T, _ *service, seen chan time.Duration, c grpc_testing.TestServiceClient) {
			s, err := c.FullDuplexCall(t.Context())
			opened(t, s, err)
			if left := <-seen; left != -1 {
				t.Errorf("the enclave sees a deadline in %v; want none", left)
			}
			time.Sleep(10 * time.Minute)
			toEOF(t, s)
		})
}

func TestRequestTimeoutCoversTheWaitForASlot(t *testing.T) {
	const timeout = 3 * time.Second
	bubble(t, func(t *testing.T) {
		svc, seen := deadlines()
		p, _ := memoryPool(t, svc, func(cfg *pool.Config) {
			single(cfg)
			cfg.RequestTimeout = timeout
		})
		l := acquire(t, p, "a")
		start := time.Now()
		_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		poolError(t, err, "a", context.DeadlineExceeded, codes.DeadlineExceeded)
		if took := time.Since(start); took != timeout {
			t.Errorf("gave up after %v; want %v", took, timeout)
		}

		go func() {
			time.Sleep(time.Second)
			l.Release()
		}()
		if _, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
		if left := <-seen; left != timeout-time.Second {
			t.Errorf("after 1s in the queue the enclave sees a deadline in %v; want %v", left, timeout-time.Second)
		}
	})
}
