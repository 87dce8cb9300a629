package faults

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/pool"
)

// row15 has an enclave that changes its mind twice a second about whether it wants calls.
var row15 = row{
	number: 15,
	fault:  "NOT_SERVING flapping at 1 Hz",
	held:   "≤ 1 routing change per cooldown (1 s)",
	how: "Half a second NOT_SERVING, half a second SERVING, 12 s long, once without calls and once under load. A routing change " +
		"is one of the enclave's state in Pool.Stats (State, Since). Before that: how long a lasting NOT_SERVING takes " +
		"to be heeded.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, err := r.enclave(ctx, "a")
		if err != nil {
			return err
		}
		for _, under := range []string{"idle", "under load"} {
			p, err := r.pool(ctx, config(a))
			if err != nil {
				return err
			}
			var l *load
			if under != "idle" {
				l = traffic{pool: p, rate: r.rate, choose: to("a")}.start()
			}
			err = flap(ctx, r, res, under, p, a)
			if l != nil {
				made := l.stop()
				kinds, wrong := made.kinds(unavailable)
				res.Broken = append(res.Broken, wrong...)
				res.say("%s: %d calls, failed: %s", under, len(made), kinds)
			}
			closePool(p)
			if err != nil {
				return err
			}
		}
		return nil
	},
}

// heedTime is the longest that a NOT_SERVING is waited for to be heeded.
const heedTime = 5 * time.Second

func flap(ctx context.Context, r *rig, res *Result, under string, p *pool.Pool, a *stack.Enclave) error {
	said := time.Now()
	if err := a.SetFaults(ctx, `{"not_serving":true}`); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, r.lasting(heedTime, 1500*time.Millisecond))
	heeded, err := awaitGone(bounded, p, "a")
	cancel()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		res.aim(r.quick, "%s: NOT_SERVING was not heeded within %s", under, short(time.Since(said)))
		res.say("%s: NOT_SERVING not heeded within %s", under, short(time.Since(said)))
	default:
		res.say("%s: NOT_SERVING heeded after %s", under, short(heeded.Sub(said)))
	}
	if err := a.SetFaults(ctx, `{"not_serving":false}`); err != nil {
		return err
	}
	if _, err := awaitFull(ctx, p, "a"); err != nil {
		return err
	}

	changes := watchState(p, "a")
	for range r.times(12, 1) {
		for _, not := range []bool{true, false} {
			if err := a.SetFaults(ctx, fmt.Sprintf(`{"not_serving":%v}`, not)); err != nil {
				changes()
				return err
			}
			if err := sleep(ctx, 500*time.Millisecond); err != nil {
				changes()
				return err
			}
		}
	}
	at := changes()
	cooldown := pool.DefaultConfig().Health.Cooldown
	closest := time.Duration(0)
	for i := 1; i < len(at); i++ {
		if gap := at[i].Sub(at[i-1]); closest == 0 || gap < closest {
			closest = gap
		}
	}
	res.say("%s: %d changes, the closest two %s apart", under, len(at), short(closest))
	// The state is that of 32 connections, each of which keeps to the cooldown by itself.
	res.must(closest == 0 || closest > cooldown-50*time.Millisecond || ejections(p) > 0, "%s: two changes within %s", under, short(closest))
	_, err = awaitFull(ctx, p, "a")
	return err
}

// watchState looks at an enclave's state until the function it returns is called, which returns when it changed.
func watchState(p *pool.Pool, id string) (end func() []time.Time) {
	var at []time.Time
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		last := breaker.Healthy
		for {
			select {
			case <-stop:
				return
			default:
			}
			if s := p.Stats().Enclaves[id]; s.State != last {
				at, last = append(at, s.Since), s.State
			}
			time.Sleep(lookEvery)
		}
	})
	return func() []time.Time {
		close(stop)
		done.Wait()
		return at
	}
}
