package faults

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// bootTime is how long connect blocks while a guest boots: what the kernel's vsock waits for an answer.
const bootTime = 2 * time.Second

// row12 has a dialer that blocks, as connect does on vsock while the guest boots. An attempt that blocks when the listener
// comes up is not told of it: it ends with its own timeout.
var row12 = row{
	number: 12,
	fault:  "connect blocks for 2 s (vsock to a booting guest)",
	held:   "Acquire elsewhere unaffected; recovery still < 200 ms after the listener is up",
	how: "The dialer blocks for 2 s, or until its attempt is given up, from when the enclave is killed until it listens again, " +
		"600 ms and more. Recovery is the time from then to the admission of the last of 32 connections.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, b, err := r.enclaves(ctx)
		if err != nil {
			return err
		}
		var booting atomic.Bool
		dials := &attempts{before: func(ctx context.Context, target string) error {
			if target != a.Target || !booting.Load() {
				return nil
			}
			if err := sleep(ctx, bootTime); err != nil {
				return err
			}
			return os.NewSyscallError("connect", syscall.ETIMEDOUT)
		}}
		p, err := r.pool(ctx, config(a, b), pool.WithDialer(dials.dial))
		if err != nil {
			return err
		}
		before, err := acquires(ctx, p, "b", r.lasting(3*time.Second, 300*time.Millisecond))
		if err != nil {
			return err
		}
		elsewhere := acquiring(p, "b")
		stop := func() { elsewhere() }
		defer func() { stop() }()
		var back []time.Duration
		began := time.Now()
		together := 0
		for range r.times(20, 1) {
			booting.Store(true)
			a.Kill()
			lost, err := awaitGone(ctx, p, "a")
			if err != nil {
				return err
			}
			if err := sleep(ctx, 600*time.Millisecond); err != nil {
				return err
			}
			if err := a.Start(ctx); err != nil {
				return err
			}
			booting.Store(false)
			up := time.Now()
			if _, err := awaitFull(ctx, p, "a"); err != nil {
				return err
			}
			_, last := admissions(p, "a")
			back = append(back, last.Sub(up.Round(0)))
			together = max(together, atOnce(dials.begun(a.Target, lost, up), giveUp))
		}
		stop = func() {}
		during, failed := elsewhere()
		res.timing("recovery", back, worst(required).waiting(required))
		res.say("at most %d attempts at once", together)
		starved, err := r.starved(ctx, began, time.Now())
		if err != nil {
			return err
		}
		res.must(together <= 4 || starved, "%d attempts at once", together)
		res.must(failed == 0, "%d Acquires of another enclave failed", failed)
		res.timing("Acquire elsewhere, before", before)
		res.timing("Acquire elsewhere, meanwhile", during, goal{quantile: 0.99, limit: max(2*quantile(before, 0.99), 100*time.Microsecond)})
		return nil
	},
}

// acquiring begins to acquire and release leases, one after another; what it returns ends that, and returns how long each
// Acquire took, sorted, and how many failed.
func acquiring(p *pool.Pool, id string) (stop func() ([]time.Duration, int)) {
	var took []time.Duration
	failed := 0
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			began := time.Now()
			l, err := p.Acquire(context.Background(), id)
			took = append(took, time.Since(began))
			if err != nil {
				failed++
			}
			p.Release(l)
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	})
	return func() ([]time.Duration, int) {
		close(end)
		done.Wait()
		return took, failed
	}
}

// acquires acquires and releases leases for some time.
func acquires(ctx context.Context, p *pool.Pool, id string, lasting time.Duration) ([]time.Duration, error) {
	stop := acquiring(p, id)
	err := sleep(ctx, lasting)
	took, _ := stop()
	return took, err
}
