package alternatives

import (
	"context"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

// fault is what is done to an enclave under load.
type fault struct {
	title, about string
	args         []string // of the enclave
	callers      int
	// inflict returns when the fault is over.
	inflict func(ctx context.Context, e *stack.Enclave) error
}

const (
	kills      = 40
	killEvery  = 50 * time.Millisecond
	down       = 500 * time.Millisecond
	frozen     = 3 * time.Second
	fewStreams = 10
)

func faults() []fault {
	return []fault{
		{
			title: "Connections are killed", callers: 64,
			about: "The enclave closes one of its connections 20 times a second, for two seconds.",
			inflict: func(ctx context.Context, e *stack.Enclave) error {
				for range kills {
					if _, err := e.Drop(ctx, 1); err != nil {
						return err
					}
					if err := pause(ctx, killEvery); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			title: "The enclave restarts", callers: 64,
			about: "kill -9; a new process listens half a second later.",
			inflict: func(ctx context.Context, e *stack.Enclave) error {
				e.Kill()
				if err := pause(ctx, down); err != nil {
					return err
				}
				if err := e.Start(ctx); err != nil {
					return err
				}
				return createKey(ctx, e)
			},
		},
		{
			title: "The enclave freezes", callers: 64,
			about: "SIGSTOP for three seconds. While there is no other enclave to go to, nobody can answer; what differs is how long callers are kept.",
			inflict: func(ctx context.Context, e *stack.Enclave) error {
				if err := e.Freeze(); err != nil {
					return err
				}
				if err := pause(ctx, frozen); err != nil {
					return err
				}
				return e.Thaw()
			},
		},
		{
			title: "10 streams a connection", callers: 500, args: []string{"-stream-limit", "10", "-delay", "2ms"},
			about:   "No fault, but a server that allows 10 streams on a connection, 500 callers and calls of 2 ms. What is above the limit has to wait somewhere.",
			inflict: func(ctx context.Context, _ *stack.Enclave) error { return pause(ctx, 2*time.Second) },
		},
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
