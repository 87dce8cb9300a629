package faults

import (
	"context"
	"errors"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// row16 kills every enclave, and then brings one back.
var row16 = row{
	number: 16,
	fault:  "every enclave Degraded at once",
	held:   "callers get a typed retryable error in < 1 ms; recovery after one returns",
	how: "Both enclaves are killed; from 250 ms later on (callers wait for the reconnect budget of 200 ms first) every call is " +
		"timed for 300 ms. The limit is held at p99: the callers share two cores with one another.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, b, err := r.enclaves(ctx)
		if err != nil {
			return err
		}
		p, err := r.pool(ctx, config(a, b))
		if err != nil {
			return err
		}
		var told, back []time.Duration
		budget := pool.DefaultConfig().Reconnect.Budget
		for range r.times(20, 2) {
			a.Kill()
			b.Kill()
			for _, e := range []string{"a", "b"} {
				if _, err := awaitGone(ctx, p, e); err != nil {
					return err
				}
			}
			if err := sleep(ctx, budget+50*time.Millisecond); err != nil {
				return err
			}
			onA := traffic{pool: p, rate: r.rate / 2, choose: to("a")}.start()
			onB := traffic{pool: p, rate: r.rate / 2, choose: to("b")}.start()
			err := sleep(ctx, 300*time.Millisecond)
			until := time.Now()
			if err == nil {
				err = a.Start(ctx)
			}
			if err == nil {
				_, err = awaitFull(ctx, p, "a")
			}
			if err == nil {
				err = sleep(ctx, 50*time.Millisecond)
			}
			madeA, madeB := onA.stop(), onB.stop()
			if err != nil {
				return err
			}
			stats, err := a.Stats(ctx)
			if err != nil {
				return err
			}
			first, _ := admissions(p, "a")
			back = append(back, first.Sub(stats.ServingSince))
			for _, c := range append(madeA.begun(time.Time{}, until), madeB...) {
				told = append(told, c.latency())
				e := poolError(c.err)
				res.must(e != nil && errors.Is(e, pool.ErrUnavailable) && e.Disposition == pool.NotSent && e.RetryAfter > 0,
					"a call ended with %v, want ErrUnavailable that says that nothing was sent and when to come again", c.err)
				if len(res.Broken) > 3 {
					return nil // enough examples
				}
			}
			served := madeA.begun(first, time.Now())
			res.must(len(served) > 0 && len(served.failed()) == 0, "of %d calls after the return of one enclave %d failed", len(served), len(served.failed()))
			if err := b.Start(ctx); err != nil {
				return err
			}
			if _, err := awaitFull(ctx, p, "b"); err != nil {
				return err
			}
		}
		res.timing("told", told, goal{quantile: 0.99, limit: time.Millisecond})
		res.say("every error: ErrUnavailable, nothing sent, with a time to retry after")
		res.timing("one enclave back: listening → first connection", back)
		return nil
	},
}
