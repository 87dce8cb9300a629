package faults

import (
	"context"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// row22 leaves an enclave frozen after its connections were ejected. The kernel goes on accepting for it, so that each
// attempt of the pool to see whether it is back gets a connection, and no answer to its health check.
var row22 = row{
	number: 22,
	fault:  "a half-open probe hangs",
	held:   "next probe allowed after its own timeout",
	how: "SIGSTOP for 4 s. Attempts after the cooldown are counted in the dialer; each has a connection and waits for its health " +
		"check until DialTimeout (150 ms). Then SIGCONT.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, err := r.enclave(ctx, "a")
		if err != nil {
			return err
		}
		dials := new(attempts)
		p, err := r.pool(ctx, config(a), pool.WithDialer(dials.dial))
		if err != nil {
			return err
		}
		l := traffic{pool: p, rate: r.rate / 2, choose: to("a")}.start()
		defer l.stop()
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
		if err := a.Freeze(); err != nil {
			return err
		}
		defer a.Thaw() //nolint:errcheck // it fails only when the enclave has ended
		out, err := awaitGone(ctx, p, "a")
		if err != nil {
			return err
		}
		if err := sleep(ctx, r.lasting(4*time.Second, 2*time.Second)); err != nil {
			return err
		}
		thawed := time.Now()
		probes := dials.begun(a.Target, out, thawed)
		if err := a.Thaw(); err != nil {
			return err
		}
		full, err := awaitFull(ctx, p, "a")
		if err != nil {
			return err
		}
		hung := 0
		for _, t := range probes {
			if t.err == nil {
				hung++
			}
		}
		res.must(hung >= 6, "only %d attempts were made while the enclave was frozen", hung) // 4 at once would be all, if they were waited for
		res.say("%d attempts while it was frozen, %d of them accepted and left without an answer; the first %s after it left rotation",
			len(probes), hung, short(firstAfter(probes, out)))
		if !r.quick {
			res.must(busiest(probes, time.Second) <= 50, "%d attempts within a second", busiest(probes, time.Second))
		}
		res.say("at most %d attempts in a second", busiest(probes, time.Second))
		res.say("all 32 back %s after SIGCONT", short(full.Sub(thawed)))
		return nil
	},
}

func firstAfter(list []attempt, at time.Time) time.Duration {
	if len(list) == 0 {
		return 0
	}
	return list[0].begin.Sub(at)
}
