package faults

import (
	"context"
)

// row4 freezes an enclave with SIGSTOP: its sockets stay open and take what fits into their buffers, and nothing is
// answered. What the pool then has to go by is silence.
var row4 = row{
	number: 4,
	fault:  "enclave frozen (SIGSTOP), load running",
	held:   "out of rotation ≤ 250 ms; calls in flight fail ≤ 10 ms later, Unavailable, not Canceled",
	how: "Out of rotation is the time from SIGSTOP until Pool.Stats shows no healthy connection, looked at every 250 µs. " +
		"Calls in flight are timed from SIGSTOP. Enclave b, with as much load, shows what others notice. There are half as many " +
		"callers as connections, so that half of the connections have no call in flight.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, b, err := r.enclaves(ctx)
		if err != nil {
			return err
		}
		p, err := r.pool(ctx, config(a, b))
		if err != nil {
			return err
		}
		var s stuck
		for range r.times(20, 1) {
			f, err := freeze(ctx, r, p, a, b, nil)
			if err != nil {
				return err
			}
			s.add(f)
			if _, err := awaitFull(ctx, p, "a"); err != nil {
				return err
			}
		}
		s.report(res)
		return nil
	},
}
