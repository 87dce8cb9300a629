package pool_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// exchange is a short bidirectional stream: open, two messages and their
// echoes, regular end.
func exchange(ctx context.Context, c grpc_testing.TestServiceClient) error {
	s, err := c.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for range 2 {
		// A failed Send says io.EOF; Recv says why.
		if err := s.Send(message("digest")); err != nil && err != io.EOF {
			return err
		}
		if _, err := s.Recv(); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	if _, err := s.Recv(); err != io.EOF {
		return errors.Join(errors.New("a stream did not end with io.EOF"), err)
	}
	return nil
}

// unary is a call of the size of a digest.
func unary(ctx context.Context, c grpc_testing.TestServiceClient) error {
	_, err := c.UnaryCall(ctx, &grpc_testing.SimpleRequest{Payload: body(32)})
	return err
}

// underLoad keeps callers busy, every second one with unary calls and the others
// with streams, until during returns, and returns how many calls there were. A
// call that fails is given to failed, which returns whether to make it again;
// without that its caller ends.
func underLoad(t *testing.T, p *pool.Pool, callers int, failed func(error) bool, during func(calls *atomic.Int64)) int64 {
	var calls atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range callers {
		call := unary
		if i%2 == 1 {
			call = exchange
		}
		wg.Go(func() {
			c := client(p, "a")
			for !stop.Load() {
				// Its own context: the end of the load cancels no call.
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				err := call(ctx, c)
				for err != nil && failed(err) {
					err = call(ctx, c)
				}
				cancel()
				if err != nil {
					t.Errorf("call %d of caller %d failed: %v", calls.Load(), i, err)
					return
				}
				calls.Add(1)
			}
		})
	}
	during(&calls)
	stop.Store(true)
	wg.Wait()
	return calls.Load()
}

// checkQuiet waits until both sides agree that the load has left nothing behind.
func checkQuiet(t *testing.T, p *pool.Pool, svc *service) {
	t.Helper()
	eventually(t, "nothing in flight", func() bool {
		s := stats(p, "a")
		return s.InFlight == 0 && s.Waiters == 0 && svc.running.Load() == 0
	})
	eventually(t, "the connections are back", func() bool {
		s := stats(p, "a")
		return s.HealthyConns >= s.MinConns && s.Cause == nil
	})
}

// The enclave ends every connection by GOAWAY after about 150ms, some in the
// middle of calls. Nobody notices.
func TestConnectionsThatTheEnclaveRetiresCostNoCall(t *testing.T) {
	const load = 3 * time.Second
	svc := &service{}
	e := pooltest.Start(t, svc.register, pooltest.WithServerOptions(grpc.KeepaliveParams(keepalive.ServerParameters{
		MaxConnectionAge:      150 * time.Millisecond,
		MaxConnectionAgeGrace: patience,
	})))
	p := newPool(t, socketConfig(e))
	ready(t, p)
	calls := underLoad(t, p, 8, func(error) bool { return false }, func(*atomic.Int64) {
		<-time.After(load)
	})
	checkQuiet(t, p, svc)
	s := stats(p, "a")
	if s.Dials < 12 || s.Exhausted != 0 || s.Ejections != 0 || s.StreamResets != 0 {
		t.Errorf("%d dials, %d exhausted, %d ejections, %d resets; want 12 or more, 0, 0, 0",
			s.Dials, s.Exhausted, s.Ejections, s.StreamResets)
	}
	// Most have their successor first; how many depends on the machine.
	t.Logf("%d calls on %d connections, %d slots, %d reconnects", calls, s.Dials, s.Acquires, s.Reconnects)
}

// An enclave that is stopped politely and started again, under load: a call
// fails only with an error that says that it was not executed and when to try
// again, and after that it succeeds. None is executed twice.
func TestAPolitelyRestartedEnclaveExecutesEveryCallOnce(t *testing.T) {
	const restarts = 6
	var executed atomic.Int64
	svc := &service{seen: func(context.Context) { executed.Add(1) }}
	e := pooltest.Start(t, svc.register)
	cfg := socketConfig(e)
	cfg.Reconnect.Budget = 30 * time.Millisecond
	p := newPool(t, cfg)
	ready(t, p)

	var turnedAway atomic.Int64
	retry := func(err error) bool {
		var pe *pool.Error
		if !errors.As(err, &pe) || !errors.Is(err, pool.ErrUnavailable) || pe.Disposition > pool.Refused || pe.RetryAfter <= 0 {
			return false
		}
		turnedAway.Add(1)
		<-time.After(pe.RetryAfter / 20) // sooner than told, to have more of them
		return true
	}
	calls := underLoad(t, p, 8, retry, func(calls *atomic.Int64) {
		for i := range restarts {
			before := calls.Load()
			eventually(t, "calls are made", func() bool { return calls.Load() >= before+50 || t.Failed() })
			e.GracefulStop()
			if i%2 == 1 { // stay away until callers have been told
				away := turnedAway.Load()
				eventually(t, "callers are turned away", func() bool { return turnedAway.Load() >= away+8 || t.Failed() })
			}
			e.Restart()
		}
		before := calls.Load()
		eventually(t, "calls are made after the last restart", func() bool { return calls.Load() >= before+50 || t.Failed() })
	})
	checkQuiet(t, p, svc)
	if n := executed.Load(); n != calls {
		t.Errorf("%d calls succeeded and %d were executed", calls, n)
	}
	t.Logf("%d calls, %d turned away and repeated", calls, turnedAway.Load())
}
