package faults

import (
	"context"
	"time"
)

// row6 freezes an enclave for so short a time that its connections have to stay.
var row6 = row{
	number: 6,
	fault:  "enclave frozen for 100 ms, then continued",
	held:   "nothing ejected",
	how:    "Ejections and dials in Pool.Stats, before and after; and the outcome of every call.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, b, err := r.enclaves(ctx)
		if err != nil {
			return err
		}
		p, err := r.pool(ctx, config(a, b))
		if err != nil {
			return err
		}
		var made calls
		v := judge(r, p, b) // a is kept from running
		times := r.times(20, 3)
		for range times {
			onA := traffic{pool: p, rate: r.rate / 2, choose: to("a")}.start()
			onB := traffic{pool: p, rate: r.rate / 2, choose: to("b")}.start()
			from := time.Now()
			err := brief(ctx, a.Freeze, a.Thaw)
			madeA, madeB := onA.stop(), onB.stop()
			if err != nil {
				return err
			}
			if err := v.repetition(ctx, from); err != nil {
				return err
			}
			made = append(append(made, madeA...), madeB...)
			if _, err := awaitFull(ctx, p, "a"); err != nil {
				return err
			}
		}
		kinds, _ := made.kinds(nil)
		v.report(res)
		res.must(v.ejected+v.excused > 0 || kinds == "none", "calls failed: %s", kinds)
		res.say("%d freezes, %d calls, the slowest %s, failed: %s", times, len(made), short(made.slowest()), kinds)
		return nil
	},
}

// brief stops something for 100 ms, 200 ms after the load has begun and 300 ms before it ends.
func brief(ctx context.Context, stop, resume func() error) error {
	if err := sleep(ctx, 200*time.Millisecond); err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	err := sleep(ctx, 100*time.Millisecond)
	if more := resume(); err == nil {
		err = more
	}
	if err != nil {
		return err
	}
	return sleep(ctx, 300*time.Millisecond)
}
