package faults

import (
	"context"
	"time"
)

// row18 steps the wall clock, which is everybody's on this machine: so only where the machine is there for nothing else,
// as the test VM is.
var row18 = row{
	number: 18,
	fault:  "wall clock steps ±1 h",
	held:   "no transition",
	how: "The clock of the machine is stepped an hour ahead, and 200 ms later back again, under load; Pool.Stats is looked at in " +
		"between.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		if !r.stepsClock {
			res.notShown("the clock is everybody's; make faults-vsock steps that of its VM. TestAStepOfTheWallClockIsNotSeen (package health) " +
				"shows with stepped times that only differences of monotonic readings are used")
			return nil
		}
		a, err := r.enclave(ctx, "a")
		if err != nil {
			return err
		}
		p, err := r.pool(ctx, config(a))
		if err != nil {
			return err
		}
		before := p.Stats().Enclaves[a.ID]
		v := judge(r, p, a)
		l := traffic{pool: p, rate: r.rate / 2, choose: to(a.ID)}.start()
		times := r.times(20, 2)
		for range times {
			from := time.Now()
			for _, step := range []time.Duration{time.Hour, -time.Hour} {
				if err = stepClock(step); err != nil {
					break
				}
				if err = sleep(ctx, 200*time.Millisecond); err != nil {
					break
				}
			}
			if err == nil {
				err = v.repetition(ctx, from)
			}
			if err != nil {
				l.stop()
				return err
			}
		}
		made := l.stop()
		after := p.Stats().Enclaves[a.ID]
		v.report(res)
		kinds, _ := made.kinds(nil)
		well := v.ejected+v.excused > 0 // what follows from an ejection is not the clock's
		res.must(well || after.Dials == before.Dials && after.Since.Equal(before.Since), "%d connections dialled anew, %v since %v, before: %v since %v",
			after.Dials-before.Dials, after.State, after.Since, before.State, before.Since)
		res.must(well || kinds == "none", "calls failed: %s", kinds)
		res.say("%d steps of an hour; dials beyond the first: %d; %d calls, failed: %s", 2*times, after.Dials-before.Dials, len(made), kinds)
		return nil
	},
}
