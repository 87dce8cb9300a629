package faults

import (
	"context"
	"time"
)

// row8 has an enclave that lets no connection grow old: it says GOAWAY, lets the calls in flight finish, and closes.
var row8 = row{
	number: 8,
	fault:  "graceful GOAWAY: the server's MaxConnectionAge closes each connection after half a second, ±10 %",
	held:   "0 failed calls",
	how:    "15 s of calls without a retry policy.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, err := r.enclave(ctx, "a", "-max-conn-age", "500ms")
		if err != nil {
			return err
		}
		p, err := r.pool(ctx, config(a))
		if err != nil {
			return err
		}
		began := time.Now()
		l := traffic{pool: p, rate: r.rate, choose: to("a")}.start()
		err = sleep(ctx, r.lasting(15*time.Second, 1500*time.Millisecond))
		made := l.stop()
		if err != nil {
			return err
		}
		kinds, _ := made.kinds(nil)
		stats := p.Stats().Enclaves["a"]
		excused, err := r.excused(ctx, p, a, began)
		if err != nil {
			return err
		}
		res.must(len(made.failed()) == 0 || excused, "%d calls failed: %s", len(made.failed()), kinds)
		replaced := stats.Dials - conns
		res.must(replaced >= conns/2, "only %d connections were replaced", replaced)
		latencies := made.latencies()
		res.say("%d connections replaced, %d of them only once they were gone, %d calls, failed: %s", replaced, stats.Reconnects, len(made), kinds)
		res.say("latency p50 %s, p99 %s, worst %s", short(quantile(latencies, 0.5)), short(quantile(latencies, 0.99)), short(quantile(latencies, 1)))
		return nil
	},
}
