package faults

import (
	"context"
	"fmt"
	"time"
)

// row24 makes an enclave slow: once its calls alone, so that its connections fall silent for longer than the pool waits
// for a sign of life before it asks, and once its health checks as well.
var row24 = row{
	number: 24,
	fault:  "enclave slow but alive (latency ×10)",
	held:   "no ejection",
	how:    "10 s each: calls take 30 ms and then 300 ms; calls and health checks take 3 ms and then 30 ms (a probe may take 50 ms).",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, b, err := r.enclaves(ctx)
		if err != nil {
			return err
		}
		p, err := r.pool(ctx, config(a, b))
		if err != nil {
			return err
		}
		v := judge(r, p, a, b)
		for _, slow := range []struct {
			what   string
			usual  time.Duration
			health bool
		}{{"calls", 30 * time.Millisecond, false}, {"calls and health checks", 3 * time.Millisecond, true}} {
			var medians [2]time.Duration
			for i, times := range []time.Duration{1, 10} {
				if err := a.SetFaults(ctx, fmt.Sprintf(`{"delay":"%v","health_too":%v}`, slow.usual*times, slow.health)); err != nil {
					return err
				}
				l := traffic{pool: p, rate: min(r.rate, 500), choose: to("a")}.start()
				err := v.watch(ctx, r.times(5+5*i, 1))
				made := l.stop()
				if err != nil {
					return err
				}
				medians[i] = quantile(made.latencies(), 0.5)
				kinds, _ := made.kinds(nil)
				res.must(kinds == "none" || v.ejected+v.excused > 0, "calls failed: %s", kinds)
			}
			res.say("%s: median %s, then %s", slow.what, short(medians[0]), short(medians[1]))
		}
		v.report(res)
		return nil
	},
}
