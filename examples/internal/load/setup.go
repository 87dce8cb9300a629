package load

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// setupRetry is the time between two attempts at creating a key in a service that is not there yet.
const setupRetry = 50 * time.Millisecond

// keyInfo is a key to sign with.
type keyInfo = *signerv1.CreateResponse

// setUp creates the keys, over every connection at least once so that all are open, and the callers,
// with their streams. All of it happens before the clock starts. What it returns beside an error is to
// be closed too.
func (r *run) setUp(ctx context.Context) ([]*caller, error) {
	working, cancel := context.WithTimeout(ctx, r.cfg.SetupTimeout)
	defer cancel()
	prefix := "load-" + rand.Text()[:8] + "-"
	for i := range max(r.cfg.Keys, len(r.cfg.Conns)) {
		id := fmt.Sprint(prefix, i%r.cfg.Keys)
		k, err := r.createKey(working, r.cfg.Conns[i%len(r.cfg.Conns)], id)
		if err != nil {
			return nil, fmt.Errorf("creating key %d of %d: %w", i%r.cfg.Keys+1, r.cfg.Keys, err)
		}
		if i < r.cfg.Keys {
			r.keys = append(r.keys, k)
		}
	}
	callers := make([]*caller, r.cfg.Callers)
	for i := range callers {
		callers[i] = r.newCaller(context.WithoutCancel(ctx), i)
	}
	if r.cfg.Mode == Stream {
		for i, c := range callers {
			stop := context.AfterFunc(working, func() { c.stream.cancel() })
			err := c.stream.open()
			if !stop() && err == nil {
				err = context.Cause(working)
			}
			if err != nil {
				return callers, fmt.Errorf("opening stream %d of %d: %w", i+1, len(callers), err)
			}
		}
	}
	return callers, nil
}

// createKey creates a key that has a name, so a repetition is harmless, until it succeeds or fails for
// another reason than a service that is not ready.
func (r *run) createKey(ctx context.Context, conn grpc.ClientConnInterface, id string) (keyInfo, error) {
	req := &signerv1.CreateRequest{KeyId: id, Algorithm: r.cfg.Algorithm}
	for {
		k, err := signerv1.NewSignerServiceClient(conn).Create(r.callContext(ctx, id), req, grpc.WaitForReady(true))
		if err == nil && k.GetKeyId() != id {
			return nil, fmt.Errorf("asked for the key %q, got %q", id, k.GetKeyId())
		}
		if c := status.Code(err); c != codes.Unavailable && c != codes.ResourceExhausted {
			return k, err
		}
		if !pause(ctx, setupRetry) {
			return nil, err // says more than that time is up
		}
	}
}

func (r *run) callContext(ctx context.Context, keyID string) context.Context {
	if r.cfg.CallContext == nil {
		return ctx
	}
	return r.cfg.CallContext(ctx, keyID)
}
