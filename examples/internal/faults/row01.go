package faults

import (
	"context"
	"time"
)

// row1 kills the enclave under load and starts it again, over and over. The callers of the enclave are callers with a
// choice: they go to the other one while theirs is out of rotation, and also with a call that was certainly not executed.
//
// A process takes some milliseconds to die, and what is begun until the pool has noticed may be lost with it. One caller
// has one call in flight, and one in 8 ms at the usual rate: if no caller loses two calls to one kill, no more were lost
// than can have been in flight at one moment.
var row1 = row{
	number: 1,
	fault:  "kill -9 of the enclave under load, another enclave healthy",
	held:   "failures the callers see ≤ calls in flight at that instant; none after it left rotation; detected ≤ 5 ms",
	how: "The callers prefer enclave a, and go to b while a is out of rotation, or when the pool says that nothing was sent. " +
		"The process is dead when a socket of ours to it says so; detected is the time from there until Pool.Stats shows no healthy " +
		"connection, looked at every 250 µs.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, b, err := r.enclaves(ctx)
		if err != nil {
			return err
		}
		p, err := r.pool(ctx, config(a, b))
		if err != nil {
			return err
		}
		var died, detected []time.Duration
		var all calls
		inFlight, lost, mostLost := 0, 0, 0
		for range r.times(20, 2) {
			t := traffic{pool: p, rate: r.rate, choose: rotation{p, []string{"a", "b"}}.first, reroute: true}
			l := t.start()
			if err := sleep(ctx, 200*time.Millisecond); err != nil {
				l.stop()
				return err
			}
			witness, err := watchDeath(ctx, a.Target)
			if err != nil {
				l.stop()
				return err
			}
			killed := time.Now()
			gone := make(chan error, 1)
			var out time.Time
			go func() {
				var err error
				out, err = awaitGone(ctx, p, "a")
				gone <- err
			}()
			a.Kill()
			if err = <-gone; err == nil {
				err = sleep(ctx, 300*time.Millisecond)
			}
			made := l.stop()
			if err != nil {
				return err
			}
			all = append(all, made...)
			dead := <-witness
			died, detected = append(died, dead.Sub(killed)), append(detected, max(0, out.Sub(dead)))
			failed := made.failed()
			inFlight += len(made.on("a").where(func(c call) bool { return c.begin.Before(out) && c.end.After(killed) }))
			lost += len(failed)
			mostLost = max(mostLost, len(failed))
			turns := 1 + int(out.Sub(killed)/t.every())
			res.must(failed.most() <= turns, "a caller lost %d calls to one kill, and can have had %d in flight, one after the other, from the signal to its detection",
				failed.most(), turns)
			res.must(len(made.begun(time.Time{}, killed).where(func(c call) bool { return c.end.Before(killed) }).failed()) == 0, "calls failed before the kill")
			late := failed.begun(out, time.Now())
			excused, err := r.excused(ctx, p, b, killed.Add(-time.Second))
			if err != nil {
				return err
			}
			res.must(len(late) == 0 || excused, "%d calls begun after the enclave had left rotation failed", len(late))
			if err := a.Start(ctx); err != nil {
				return err
			}
			if _, err := awaitFull(ctx, p, "a"); err != nil {
				return err
			}
		}
		kinds, wrong := all.kinds(unavailable)
		res.Broken = append(res.Broken, wrong...)
		res.timing("the process is dead, after the signal", died)
		res.timing("detected, after that", detected, worst(5*time.Millisecond))
		res.say("%d calls, %d of them in flight on the enclave between a signal and its detection; failed: %d (most at one kill: %d of %d callers)",
			len(all), inFlight, lost, mostLost, callers)
		res.say("with: %s", kinds)
		return nil
	},
}

// watchDeath opens a connection, and returns a channel that has the time at which the kernel closed the other end.
func watchDeath(ctx context.Context, address string) (<-chan time.Time, error) {
	c, err := new(attempts).dial(ctx, address)
	if err != nil {
		return nil, err
	}
	dead := make(chan time.Time, 1)
	go func() {
		defer c.Close()
		for buf := make([]byte, 1<<10); ; {
			if _, err := c.Read(buf); err != nil {
				dead <- time.Now()
				return
			}
		}
	}()
	return dead, nil
}
