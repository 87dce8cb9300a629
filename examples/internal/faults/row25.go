package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/internal/target"
	"github.com/enclavepool/enclavepool/pool"
)

// row25 is what AF_VSOCK says when there is nobody, of which each kernel has its own way. To the callers it is all the same.
//
// A connect that times out takes a second machine, which is not there: the dialer says what the kernel would.
var row25 = row{
	number: 25,
	fault:  "real AF_VSOCK: no listener, listener killed and restarted, absent CID, connect timeout",
	held:   "ECONNRESET, ENODEV, ETIMEDOUT: one retryable class, and recovered from within 200 ms",
	how: "The enclave is killed; what is dialled from then on is its address without a listener, its address while it is started again " +
		"after 50 ms, a CID that does not exist, or nothing at all: the dialer blocks for 2 s and then says ETIMEDOUT, or ends with " +
		"its attempt. Once the budget is spent a call is made. Then the enclave is there again: recovery is the time from when " +
		"that is so to the admission of the last of 32 connections (Pool.Stats, OpenedAt).",
	run: func(ctx context.Context, r *rig, res *Result) error {
		if r.transport != stack.Vsock {
			res.notShown("it is about AF_VSOCK: make faults-vsock, docs/reliability-vsock.md")
			return nil
		}
		a, err := r.enclave(ctx, "a")
		if err != nil {
			return err
		}
		parsed, err := target.Parse(a.Target)
		if err != nil {
			return err
		}
		var detour atomic.Pointer[detour]
		p, err := r.pool(ctx, config(a), pool.WithDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if d := detour.Load(); d != nil {
				return d.dial(ctx)
			}
			return parsed.Dial(ctx)
		}))
		if err != nil {
			return err
		}
		for _, d := range detours(a.Target) {
			if err := d.take(ctx, r, res, p, a, &detour); err != nil {
				return fmt.Errorf("%s: %w", d.what, err)
			}
		}
		return nil
	},
}

// detour is where the pool finds nobody.
type detour struct {
	what string
	// dial replaces the way to the enclave; nil: it is dialled as ever.
	dial func(context.Context) (net.Conn, error)
	// while is how long the enclave is away; 0: until a call has failed.
	while time.Duration
	// causes are those of which the failed call has to have one.
	causes []error
}

func detours(address string) []detour {
	_, port, _ := strings.Cut(strings.TrimPrefix(address, "vsock:"), ":")
	return []detour{
		{what: "no listener", causes: []error{syscall.ECONNRESET}},
		{what: "listener killed and restarted", while: 50 * time.Millisecond},
		{what: "absent CID", causes: []error{syscall.ENODEV}, dial: func(ctx context.Context) (net.Conn, error) {
			t, err := target.Parse("vsock:12345:" + port)
			if err != nil {
				return nil, err
			}
			return t.Dial(ctx)
		}},
		{what: "connect timeout", causes: []error{syscall.ETIMEDOUT, context.DeadlineExceeded}, dial: func(ctx context.Context) (net.Conn, error) {
			if err := sleep(ctx, bootTime); err != nil {
				return nil, err
			}
			return nil, os.NewSyscallError("connect", syscall.ETIMEDOUT)
		}},
	}
}

// take takes the detour, time after time.
func (d detour) take(ctx context.Context, r *rig, res *Result, p *pool.Pool, a *stack.Enclave, way *atomic.Pointer[detour]) error {
	var back []time.Duration
	seen := map[string]int{}
	for range r.times(20, 1) {
		if d.dial != nil {
			way.Store(&d)
		}
		a.Kill()
		if _, err := awaitGone(ctx, p, a.ID); err != nil {
			return err
		}
		if d.while > 0 {
			if err := sleep(ctx, d.while); err != nil {
				return err
			}
		} else {
			if err := sleep(ctx, 2*pool.DefaultConfig().Reconnect.Budget); err != nil {
				return err
			}
			c := traffic{pool: p, choose: to(a.ID), timeout: callTimeout}.one()
			seen[d.judge(res, c.err)]++
		}
		if err := a.Start(ctx); err != nil {
			return err
		}
		stats, err := a.Stats(ctx)
		if err != nil {
			return err
		}
		there := stats.ServingSince
		if d.dial != nil {
			way.Store(nil)
			there = time.Now().Round(0)
		}
		if _, err := awaitFull(ctx, p, a.ID); err != nil {
			return err
		}
		_, last := admissions(p, a.ID)
		back = append(back, last.Sub(there))
		if err := sleep(ctx, settling); err != nil {
			return err
		}
	}
	for cause, n := range seen {
		res.say("%s: %d calls failed with ErrUnavailable, not sent, for %s", d.what, n, cause)
	}
	res.timing(d.what+": recovery", back, worst(required).waiting(required))
	return nil
}

// judge returns which of the causes a failed call has, and holds it to being of the one class.
func (d detour) judge(res *Result, err error) string {
	e := poolError(err)
	res.must(e != nil && errors.Is(e, pool.ErrUnavailable) && e.Disposition == pool.NotSent && e.RetryAfter > 0,
		"%s: a call ended with %v, want ErrUnavailable that says that nothing was sent and when to come again", d.what, err)
	for _, cause := range d.causes {
		if errors.Is(err, cause) {
			return cause.Error()
		}
	}
	res.must(false, "%s: a call ended with %v, want one of %v among its causes", d.what, err, d.causes)
	return "another cause"
}
