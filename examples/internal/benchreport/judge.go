package benchreport

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Criterion is one thing that is asked of a run.
type Criterion struct {
	Text  string `json:"text"`
	Found string `json:"found"`
	Met   bool   `json:"met"`
}

// The figures that the pool is held to.
const (
	acquireLimit  = 0.2 // ms, at p99
	recoveryLimit = 200 * time.Millisecond
	slowMost      = 1.5  // times the share that is slow on purpose
	goodputLeast  = 0.8  // of the capacity that there is
	settled       = 2    // seconds after a recovery in which callers may still meet its failures
	budget        = 0.2  // s: how long callers wait for an enclave that is lost
	room          = 0.25 // s: for two busy cores
)

func judgeSteady(r *Result) []Criterion {
	fewest := minConns(r.Samples)
	return []Criterion{
		noFailures(r),
		{"every checked signature is right", fmt.Sprintf("%d checked of %d, %d wrong", r.Load.Signatures.Verified, r.Load.Signatures.Made, r.Load.Signatures.Invalid),
			r.Load.Signatures.Verified > 0 && r.Load.Signatures.Invalid == 0},
		noDials(r),
		noResets(r),
		{"every enclave keeps its 16 connections (`active_conns`)", fmt.Sprintf("never fewer than %d", fewest), fewest >= 16},
		acquired(r),
	}
}

func judgeOpen(r *Result) []Criterion {
	return []Criterion{
		noFailures(r),
		{"every call of the schedule is begun", fmt.Sprintf("%d of them were not", r.Load.Missed), r.Load.Missed == 0},
		noDials(r), noResets(r), acquired(r),
	}
}

func judgeRestart(r *Result) []Criterion {
	first, last := recovery(r)
	over := r.Disturb.Listening + settled*time.Second
	var late uint64
	for _, i := range r.Load.Intervals {
		if i.Start >= over {
			late += i.Failed
		}
	}
	longest := r.Load.ErrorLatency.P99.Seconds()
	return []Criterion{
		{"the enclave's first connection is back within 200 ms of its listening", after(first, r.Disturb.Listening), within(first, r.Disturb.Listening)},
		{"all of them are back within 200 ms of its listening", after(last, r.Disturb.Listening), within(last, r.Disturb.Listening)},
		{"calls for its keys fail fast and can be repeated: `Unavailable`, within the reconnect budget of 200 ms (p99, with room for two busy cores); " +
			"then once a key `NotFound`, as the new process has none",
			fmt.Sprintf("%s; p99 %s", kinds(r), short(r.Load.ErrorLatency.P99)), only(r, "Unavailable", "NotFound") && longest <= budget+room},
		{fmt.Sprintf("none fails later than %d s after the return", settled), fmt.Sprintf("%d failed", late), late == 0},
	}
}

func judgeSlow(r *Result) []Criterion {
	share := 0.0
	if r.Load.Succeeded > 0 {
		share = float64(r.Load.Slower) / float64(r.Load.Succeeded)
	}
	return []Criterion{
		noFailures(r),
		{fmt.Sprintf("slow calls hold up no others: at most %.1f %% take longer than %v", 100*slowMost*slowShare, slowDelay/2),
			fmt.Sprintf("%.2f %% (%d of %d); p50 %s, p90 %s", 100*share, r.Load.Slower, r.Load.Succeeded, short(r.Load.Latency.P50), short(r.Load.Latency.P90)),
			r.Load.Succeeded > 0 && share <= slowMost*slowShare},
		noDials(r), noResets(r),
	}
}

func judgeExhausted(r *Result) []Criterion {
	capacity := float64(len(enclaves)*tightStreams) / tightDelay.Seconds()
	last := r.Samples[len(r.Samples)-1]
	first := r.Samples[0]
	said := slices.ContainsFunc(r.Samples, func(s Sample) bool { return s.Exhausted })
	return []Criterion{
		{fmt.Sprintf("what can be served is: at least %.0f %% of %.0f calls/s", 100*goodputLeast, capacity), fmt.Sprintf("%.0f calls/s", r.Load.Throughput),
			r.Load.Throughput >= goodputLeast*capacity},
		{"the others are told so, typed and fast: `ResourceExhausted`, p99 within AcquireTimeout (with room for two busy cores)",
			fmt.Sprintf("%s; p99 %s", kinds(r), short(r.Load.ErrorLatency.P99)),
			only(r, "ResourceExhausted") && r.Load.ErrorLatency.P99.Seconds() <= tightWait.Seconds()+room},
		{"it shows: `conn_pool_state` says exhausted, `pool_exhausted_total` counts", fmt.Sprintf("said: %v; counted: %d", said, last.TurnedAway-first.TurnedAway),
			said && last.TurnedAway > first.TurnedAway},
		noDials(r),
	}
}

func noFailures(r *Result) Criterion {
	return Criterion{"no call fails", fmt.Sprintf("%d of %d: %s", r.Load.Failed, r.Load.Succeeded+r.Load.Failed, kinds(r)), r.Load.Failed == 0 && r.Load.Succeeded > 0}
}

// noDials is what "the p99 contains no connection set-up" comes to: there was none.
func noDials(r *Result) Criterion {
	n := r.Samples[len(r.Samples)-1].Dials - r.Samples[0].Dials
	return Criterion{"no call contains a connection set-up: none is dialled (`pool_dials_total`), none accepted by the enclaves",
		fmt.Sprintf("%d dialled, %d accepted", n, r.Accepted), n == 0 && r.Accepted == 0}
}

func noResets(r *Result) Criterion {
	n := r.Samples[len(r.Samples)-1].Resets - r.Samples[0].Resets
	return Criterion{"`grpc_stream_resets_total` stays as it is", fmt.Sprintf("%d more", n), n == 0}
}

func acquired(r *Result) Criterion {
	p99, total := r.Acquire.percentile(0.99)
	return Criterion{"`pool_acquire_latency_ms` p99 < 200 µs", fmt.Sprintf("p99 ≤ %.3g ms of %.0f (the bound of its bucket)", p99, total), total > 0 && p99 <= acquireLimit}
}

func minConns(samples []Sample) int {
	fewest := -1
	for _, s := range samples {
		for _, n := range s.Conns {
			if fewest < 0 || n < fewest {
				fewest = n
			}
		}
	}
	return fewest
}

// recovery returns when the enclave that was killed had its first connection again, and when
// its last was back; zero: never.
func recovery(r *Result) (first, last time.Duration) {
	for _, e := range r.Events {
		if e.Enclave != enclaves[0] || e.At < r.Disturb.Began {
			continue
		}
		switch e.Message {
		case "enclave recovered":
			first = e.At
		case "connection back in rotation":
			last = e.At
		}
	}
	return first, last
}

func within(at, from time.Duration) bool { return at > 0 && at-from <= recoveryLimit }

func after(at, from time.Duration) string {
	if at == 0 {
		return "never"
	}
	return short(at-from) + " after"
}

// only tells whether calls failed, and all with one of the codes.
func only(r *Result, codes ...string) bool {
	var n uint64
	for _, code := range codes {
		n += r.Load.Errors[code].Count
	}
	return n > 0 && n == r.Load.Failed
}

func kinds(r *Result) string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(r.Load.Errors)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Load.Errors[code].Count, code))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// short is a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(time.Millisecond).String()
	}
}
