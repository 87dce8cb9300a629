package faults

import (
	"context"
	"slices"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// required is how soon all connections have to be back, on any machine.
const required = 200 * time.Millisecond

// settling is more than a connection needs that carries no call to be taken for one that is of use. An enclave whose
// connections die before that, time after time, is dialled more rarely.
const settling = 300 * time.Millisecond

// row2 kills the enclave and starts it again after some time. Both ends of the timing are exact: the enclave itself says
// since when it accepts connections, and Pool.Stats since when each connection has been admitted, both by the clock of
// this machine.
var row2 = row{
	number: 2,
	fault:  "the enclave restarts (down 0, 50, 500, 3000 ms), load running",
	held: "listener back → all 32 connections Healthy: p99 < 200 ms required, p50 ≤ 20 ms and p99 ≤ 60 ms aimed for; " +
		"never more than 50 attempts/s or 4 at once while it is away",
	how: "From the moment at which the new process accepts connections to the admission of the last of the 32 (Pool.Stats, OpenedAt). " +
		"Attempts are counted in the dialer, from the kill until the new process listens.",
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
		l := traffic{pool: p, rate: r.rate, choose: to("a")}.start()
		stop := func() { l.stop() }
		defer func() { stop() }()
		var back, first []time.Duration
		perSecond, together, burst := 0, 0, 0
		for _, round := range []struct {
			down  time.Duration
			times int
		}{
			{0, r.times(r.slow(40, 8), 1)}, {50 * time.Millisecond, r.times(r.slow(30, 6), 1)},
			{500 * time.Millisecond, r.times(r.slow(22, 4), 1)}, {3 * time.Second, r.times(r.slow(8, 2), 0)},
		} {
			var here []time.Duration
			for range round.times {
				killed := time.Now()
				a.Kill()
				if _, err := awaitGone(ctx, p, "a"); err != nil {
					return err
				}
				if err := sleep(ctx, round.down); err != nil {
					return err
				}
				if err := a.Start(ctx); err != nil {
					return err
				}
				if _, err := awaitFull(ctx, p, "a"); err != nil {
					return err
				}
				stats, err := a.Stats(ctx)
				if err != nil {
					return err
				}
				listens := stats.ServingSince
				earliest, latest := admissions(p, "a")
				here = append(here, latest.Sub(listens))
				first = append(first, earliest.Sub(listens))
				away := dials.begun(a.Target, killed, listens)
				perSecond, together = max(perSecond, busiest(away, time.Second)), max(together, atOnce(away, 0))
				burst = max(burst, busiest(away, 20*time.Millisecond))
				if err := sleep(ctx, settling); err != nil {
					return err
				}
			}
			if len(here) > 0 {
				slices.Sort(here)
				res.say("down %v: median %s, worst %s (n=%d)", round.down, short(quantile(here, 0.5)), short(here[len(here)-1]), len(here))
			}
			back = append(back, here...)
		}
		stop = func() {}
		made := l.stop()
		res.timing("all 32 back", back, goal{quantile: 0.5, limit: 20 * time.Millisecond}, goal{quantile: 0.99, limit: 60 * time.Millisecond},
			goal{quantile: 0.99, limit: required}.waiting(required)) // this one is the same on any machine
		res.timing("the first one back", first)
		res.say("while away: at most %d attempts in a second, %d in 20 ms, %d at once", perSecond, burst, together)
		if !r.quick { // it is not away for a second
			res.must(perSecond <= 50, "%d attempts within a second while the enclave was away", perSecond)
			res.must(together <= 4, "%d attempts at once while the enclave was away", together)
		}
		kinds, wrong := made.kinds(unavailable)
		res.Broken = append(res.Broken, wrong...)
		res.say("%d calls, failed: %s", len(made), kinds)
		return nil
	},
}

// admissions returns when the first and the last of an enclave's connections were admitted, by the system's clock.
func admissions(p *pool.Pool, id string) (first, last time.Time) {
	for _, c := range p.Stats().Enclaves[id].Connections {
		at := c.OpenedAt.Round(0) // another process's time has no monotonic reading
		if at.IsZero() {
			continue
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	return first, last
}
