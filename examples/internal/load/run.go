package load

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// failurePause is how long a caller of a closed loop waits after a call that failed. Without it the
// callers of a service that refuses at once would do nothing but count refusals.
const failurePause = 5 * time.Millisecond

// run is what the callers of one run share.
type run struct {
	cfg     Config
	keys    []keyInfo
	rec     *recorder
	check   *checker
	begun   atomic.Uint64 // calls
	streams atomic.Uint64 // SignStreams opened

	start time.Time
}

// Run creates the keys, drives the load and returns its report. It returns an error, and no report,
// when the configuration is not valid or the service could not be set up; calls that fail later are in
// the report. When ctx ends early, no more calls are begun, those in flight are waited for, and the
// report covers what there was.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	r := &run{cfg: cfg, rec: newRecorder()}
	callers, err := r.setUp(ctx)
	defer func() {
		var wg sync.WaitGroup
		for _, c := range callers {
			wg.Go(c.stream.close)
		}
		wg.Wait()
	}()
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	r.check = newChecker(cfg.VerifyEvery)

	r.start = time.Now()
	working, cancel := context.WithDeadline(ctx, r.start.Add(cfg.Duration))
	defer cancel()
	var wg sync.WaitGroup
	for _, c := range callers {
		wg.Go(func() { c.work(working) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	intervals := r.watch(done)

	elapsed := time.Since(r.start)
	out := &Report{
		Mode: cfg.Mode, Callers: cfg.Callers, Connections: len(cfg.Conns), Keys: cfg.Keys,
		Algorithm: r.keys[0].GetAlgorithm().String(), Rate: cfg.Rate, Timeout: cfg.Timeout, VerifyEvery: cfg.VerifyEvery,
		Started: r.start, Elapsed: elapsed, Interrupted: ctx.Err() != nil && elapsed < cfg.Duration,
		Totals: r.rec.all.totals(), Missed: r.missed(min(elapsed, cfg.Duration)),
		StreamsOpened: r.streams.Load(), Signatures: r.check.finish(), Intervals: intervals,
	}
	if cfg.SlowerThan > 0 {
		out.Slower = r.rec.all.slower(cfg.SlowerThan)
	}
	out.Throughput = float64(out.Succeeded) / elapsed.Seconds()
	return out, nil
}

// watch cuts intervals and reports them until done, and returns them all. One that would be cut close
// to the end goes on until the end: what a few milliseconds hold says nothing about a rate.
func (r *run) watch(done <-chan struct{}) []Interval {
	var all []Interval
	cut := func() {
		i := r.rec.cut(time.Since(r.start))
		i.Invalid = r.check.invalid.Load()
		all = append(all, i)
		if r.cfg.Progress != nil {
			r.cfg.Progress(i)
		}
	}
	tick := time.NewTicker(r.cfg.ProgressEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if left := r.cfg.Duration - time.Since(r.start); left.Abs() >= r.cfg.ProgressEvery/2 {
				cut()
			}
		case <-done:
			cut()
			return all
		}
	}
}

// due returns when call n of a caller is meant to begin in an open loop, after the start.
func (r *run) due(caller, n int) time.Duration {
	return time.Duration((float64(n)*float64(r.cfg.Callers) + float64(caller)) / r.cfg.Rate * float64(time.Second))
}

// missed returns how many calls an open loop had scheduled before the given time and never begun.
func (r *run) missed(until time.Duration) uint64 {
	scheduled := uint64(math.Ceil(until.Seconds() * r.cfg.Rate)) // 0 in a closed loop
	begun := r.begun.Load()
	if begun >= scheduled {
		return 0
	}
	return scheduled - begun
}

// begin waits until call n of a caller is to begin, and returns the moment its latency counts from;
// false when the run is over.
func (r *run) begin(ctx context.Context, caller, n int) (time.Time, bool) {
	from := time.Now()
	if r.cfg.Rate > 0 {
		due := r.due(caller, n)
		from = r.start.Add(due)
		if due >= r.cfg.Duration || !pause(ctx, time.Until(from)) {
			return from, false
		}
	}
	if ctx.Err() != nil {
		return from, false
	}
	r.begun.Add(1)
	return from, true
}

// pause waits for d and reports whether it did so before ctx ended. It does not wait when d is not
// above 0.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
