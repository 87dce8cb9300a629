package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
)

// pace is the pause between two calls of a caller: enough that a slow machine has time for what is being tested.
const pace = 10 * time.Millisecond

// failed is a call of the traffic that failed.
type failed struct {
	begun time.Time
	err   error
}

// traffic is callers that sign one digest after another with one key.
type traffic struct {
	stop func() // waits for the calls in flight

	mu       sync.Mutex
	ok       int
	slowest  time.Duration // of the calls that succeeded
	failures []failed
}

// drive starts n callers.
func drive(t *testing.T, c signerv1.SignerServiceClient, key *signerv1.CreateResponse, n int) *traffic {
	t.Helper()
	tr := &traffic{}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for caller := range n {
		wg.Go(func() {
			for {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				begun := time.Now()
				err := sign(ctx, c, key, digest(byte(caller)))
				cancel()
				tr.mu.Lock()
				if err == nil {
					tr.ok++
					tr.slowest = max(tr.slowest, time.Since(begun))
				} else {
					tr.failures = append(tr.failures, failed{begun, err})
				}
				tr.mu.Unlock()
				select {
				case <-done:
					return
				case <-time.After(pace):
				}
			}
		})
	}
	tr.stop = sync.OnceFunc(func() { close(done); wg.Wait() })
	t.Cleanup(tr.stop)
	return tr
}

// await waits until n more calls have succeeded, or failed if that is asked for.
func (tr *traffic) await(t *testing.T, n int, failures bool) {
	t.Helper()
	count := func() int {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		if failures {
			return len(tr.failures)
		}
		return tr.ok
	}
	before := count()
	eventually(t, "traffic", func(context.Context) error {
		if now := count(); now-before < n {
			return fmt.Errorf("%d calls, want %d", now-before, n)
		}
		return nil
	})
}

// failedCalls are the calls that have failed.
func (tr *traffic) failedCalls() []failed {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return append([]failed(nil), tr.failures...)
}

// starved reports whether a call took longer than the gateway waits for the answer to a health probe. On such a machine,
// an emulated one say, healthy connections look dead for want of a processor, and it is right to replace them: nothing
// can be said of connections that stay.
func starved(slowest time.Duration) bool { return slowest > pool.DefaultConfig().Health.Timeout }

// none fails the test when a call has failed.
func (tr *traffic) none(t *testing.T, whose string) {
	t.Helper()
	var errs []error
	for _, f := range tr.failedCalls() {
		errs = append(errs, f.err)
	}
	if len(errs) > 0 {
		t.Errorf("%s: %d calls failed: %v", whose, len(errs), errors.Join(errs[:min(3, len(errs))]...))
	}
}
