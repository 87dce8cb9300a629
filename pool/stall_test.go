package pool_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
)

// stalling is a logger that takes a second over the first record with its text: to the pool that is a process which did
// not run, since the goroutine that would look at the clock is the one that writes.
type stalling struct {
	slog.Handler
	text string
	once sync.Once
}

func (h *stalling) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.text {
		h.once.Do(func() { time.Sleep(time.Second) })
	}
	return nil
}
func (h *stalling) Enabled(context.Context, slog.Level) bool { return true }
func (h *stalling) WithAttrs([]slog.Attr) slog.Handler       { return h }

// The enclave is away for a moment, and this process stands still for a second. It is back by then, so callers are not
// told that their time was up.
func TestTheTimeThatThisProcessDidNotRunIsNotTheEnclaves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := &stalling{Handler: slog.DiscardHandler, text: "connection attempt failed"}
		p, e := memoryPool(t, &service{}, nil, pool.WithLogger(slog.New(h)))
		synctest.Wait()
		e.Stop()
		synctest.Wait() // the loss is known: the call waits
		called := make(chan error, 1)
		go func() {
			_, err := client(p, "a").EmptyCall(within(t, patience), &grpc_testing.Empty{})
			called <- err
		}()
		time.Sleep(500 * time.Millisecond)
		e.Restart()
		if err := <-called; err != nil {
			t.Errorf("a call that waited: %v", err)
		}

		// With nothing standing still the budget is what it says.
		e.Stop()
		synctest.Wait()
		start := time.Now()
		if _, err := client(p, "a").EmptyCall(within(t, patience), &grpc_testing.Empty{}); err == nil {
			t.Error("a call succeeded without an enclave")
		}
		if took := time.Since(start); took < 200*time.Millisecond || took > 210*time.Millisecond {
			t.Errorf("a call failed after %v, want the budget of 200 ms", took)
		}
	})
}
