package faults

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/pool"
)

// tokens is how many extra attempts gRPC may make before a success earns it more: half of the retryThrottling.maxTokens that
// the pool adds to a service config without, of which a failure costs one, and a success earns a tenth.
const tokens = 500

const (
	// busyTime is how long a call takes the enclave, busyStreams how many streams it allows a connection, one of which the
	// pool keeps for probes.
	busyTime    = 200 * time.Millisecond
	busyStreams = 4
	// impatience is the deadline of a call, queueTime how much of it may be spent in the queue, bin the time in which
	// successes are counted.
	impatience = 600 * time.Millisecond
	queueTime  = 200 * time.Millisecond
	bin        = 200 * time.Millisecond
)

// row23 offers an enclave twice what it can do, takes it away, and gives it back: first it is gone (kill -9), then it is
// back and refuses every call with UNAVAILABLE, which is what makes clients repeat them, and then it works again.
var row23 = row{
	number: 23,
	fault:  "outage at 2× capacity load (retry storm)",
	held:   "extra attempts ≤ 10 %; normal within 1 s of recovery",
	how: "Capacity is 32 connections × 3 streams / 200 ms = 480 calls/s, the load 960, each with a deadline of 600 ms, with a retry policy " +
		"(4 attempts) and AcquireTimeout 200 ms. The outage is 60 s: half of it the enclave is gone (kill -9), half of it it refuses every call. Attempts " +
		"are counted per call as gRPC begins them. Normal is 90 % of the successes per 200 ms from before.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, err := r.enclave(ctx, "a", "-stream-limit", fmt.Sprint(busyStreams), "-delay", busyTime.String())
		if err != nil {
			return err
		}
		capacity := float64(conns*(busyStreams-1)) / busyTime.Seconds()
		if err := row23Endless(ctx, r, res, a, capacity); err != nil {
			return err
		}
		cfg := config(a)
		cfg.AcquireTimeout = queueTime
		p, err := r.pool(ctx, cfg, pool.WithServiceConfig(retries), pool.WithDialOptions(grpc.WithStatsHandler(attemptCounter{})))
		if err != nil {
			return err
		}
		l := overload(p, capacity).start()
		stop := func() { l.stop() }
		defer func() { stop() }()
		normal := r.lasting(5*time.Second, time.Second)
		if err := sleep(ctx, normal+time.Second); err != nil {
			return err
		}
		lost := time.Now()
		a.Kill()
		if err := sleep(ctx, r.outage/2); err != nil {
			return err
		}
		if err := a.Start(ctx); err != nil {
			return err
		}
		if err := a.SetFaults(ctx, `{"refuse_fraction":1,"delay":"0s"}`); err != nil {
			return err
		}
		refusing := time.Now()
		if err := sleep(ctx, r.outage/2); err != nil {
			return err
		}
		if err := a.SetFaults(ctx, fmt.Sprintf(`{"refuse_fraction":0,"delay":"%v"}`, busyTime)); err != nil {
			return err
		}
		back := time.Now()
		if err := sleep(ctx, normal); err != nil {
			return err
		}
		until := time.Now()
		stop = func() {}
		made := l.stop()

		before := successes(made, lost.Add(-normal), lost)
		usual := slices.Sorted(slices.Values(before))[len(before)/2]
		after := successes(made, back, until)
		res.say("capacity %.0f calls/s, load %.0f; before: %.0f succeeded per second", capacity, 2*capacity, float64(usual)/bin.Seconds())
		res.must(r.quick || float64(usual)/bin.Seconds() >= capacity/2, "under a load of twice its capacity the enclave answers less than half of what it could")
		for _, phase := range []struct {
			name     string
			from, to time.Time
		}{{"before", lost.Add(-normal), lost}, {"gone", lost, refusing}, {"refusing", refusing, back}, {"back", back, until}} {
			cs := made.begun(phase.from, phase.to)
			extra := cs.extra()
			kinds, _ := cs.kinds(nil)
			res.say("%s, %s: %d calls, %d extra attempts (%.1f %%); failed: %s", phase.name, short(phase.to.Sub(phase.from)), len(cs), extra, percent(extra, len(cs)), kinds)
		}
		outage := made.begun(lost, back)
		extra, allowed := made.extra(), tokens+(len(made)-len(made.failed()))/10+callers
		res.must(extra <= allowed, "%d extra attempts, and retry throttling allows %d", extra, allowed)
		res.must(r.quick || percent(outage.extra(), len(outage)) <= 10, "%d extra attempts for %d calls in the outage", outage.extra(), len(outage))
		mistaken := made.inFlight(lost).where(func(c call) bool { return c.attempts > 1 && unsent(c.err) })
		res.say("calls that were on their way at the kill, were repeated, and then failed as if nothing had been sent: %d", len(mistaken))
		res.must(r.quick || len(mistaken) == 0, "%d calls that had been sent, and may have been executed, say that nothing was sent", len(mistaken))
		recovered := slices.IndexFunc(after, func(n int) bool { return float64(n) >= 0.9*float64(usual) })
		if recovered < 0 {
			res.must(r.quick, "not back to normal within %s: %v successes per %v, %d before", short(until.Sub(back)), after, bin, usual)
			return nil
		}
		took := time.Duration(recovered+1) * bin
		res.timing("normal again, to within 200 ms", []time.Duration{took}, worst(time.Second))
		return nil
	},
}

// overload is twice as many calls as the enclave can answer.
func overload(p *pool.Pool, capacity float64) traffic {
	return traffic{pool: p, callers: int(2 * capacity), rate: 2 * capacity, choose: to("a"), timeout: impatience, count: true}
}

// row23Endless shows what comes of the overload when callers queue for as long as their deadline lasts, as they do by
// default: first come is first served, when it is almost too late.
func row23Endless(ctx context.Context, r *rig, res *Result, a *stack.Enclave, capacity float64) error {
	p, err := r.pool(ctx, config(a))
	if err != nil {
		return err
	}
	defer closePool(p)
	lasting := r.lasting(5*time.Second, 500*time.Millisecond)
	l := overload(p, capacity).start()
	err = sleep(ctx, time.Second+lasting)
	until := time.Now()
	n := 0
	for _, successes := range successes(l.stop(), until.Add(-lasting), until) {
		n += successes
	}
	res.say("without an AcquireTimeout, which is the default: %.0f of %.0f calls/s succeed", float64(n)/lasting.Seconds(), capacity)
	return err
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }

// successes counts the calls that succeeded, by when they ended, bin by bin.
func successes(made calls, from, until time.Time) []int {
	out := make([]int, max(1, int(until.Sub(from)/bin)))
	for _, c := range made {
		if i := int(c.end.Sub(from) / bin); c.err == nil && !c.end.Before(from) && i < len(out) {
			out[i]++
		}
	}
	return out
}
