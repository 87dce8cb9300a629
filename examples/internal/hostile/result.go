package hostile

import (
	"fmt"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// The bounds that every attack is held to, besides its outcome. They are generous: what they are there to find is
// growth without end.
const (
	// maxHeapGrowth is for the pool's process, and so much again for each hostile enclave.
	maxHeapGrowth = 32 << 20
	maxError      = 80 << 10 // the enclave's own status may have 64 KiB of headers
	maxOwnError   = 1 << 10
	maxLine       = 2 << 10
	// maxDials are the pool's: so many a second, beyond those that may come at once.
	maxDials   = 100
	firstDials = 64
	maxClose   = 2 * time.Second
	maxLines   = 30 // a second for each enclave: two of each kind, beyond the first
	firstLines = 500
	// detected is how soon a connection is out on which nothing comes in.
	detected = 250 * time.Millisecond
)

// shared is what attacks have in common that ran at the same time.
type shared struct {
	// Alone and Beside are the calls to the healthy enclave without and with the hostile ones.
	Alone, Beside Calls
	Lasted        time.Duration
	HeapGrowth    int64
	GRPCLines     int // in gRPC's own log
	log           logged
	CloseErr      error
	CloseTook     time.Duration
	Left          string // that should have gone
}

// Result is what an attack has shown.
type Result struct {
	Name, Does string
	Held       outcome
	Evil       Calls // to the hostile enclave
	Looks      Looks
	Stats      pool.EnclaveStats
	Lines      int // of log
	shared
	// Broken are the behaviours that were not as they have to be.
	Broken []string
}

func (r *Result) must(ok bool, format string, args ...any) {
	if !ok {
		r.Broken = append(r.Broken, fmt.Sprintf(format, args...))
	}
}

// judge holds the result to what has to be. There were that many hostile enclaves at a time.
func (r *Result) judge(a attack, c Config, together int) {
	r.must(r.Beside.Failed == 0, "%d of %d calls to the healthy enclave failed, such as with %v", r.Beside.Failed, len(r.Beside.Took), r.Beside.Failure)
	r.must(r.Alone.Failed == 0, "%d calls to the healthy enclave failed before there was a hostile one", r.Alone.Failed)
	heap := int64(maxHeapGrowth * (1 + together))
	r.must(r.HeapGrowth <= heap, "the heap grew by %d MiB", r.HeapGrowth>>20)
	worst := quantile(r.Evil.Took, 1)
	r.must(worst <= evilDeadline+c.Room, "a call with a deadline of %v to the hostile enclave took %v", evilDeadline, worst)
	r.must(r.Evil.LongestError <= maxError, "a caller got an error of %d bytes", r.Evil.LongestError)
	r.must(r.Evil.LongestOwn <= maxOwnError, "an error of the pool's has %d bytes", r.Evil.LongestOwn)
	dials := r.most(firstDials, maxDials)
	r.must(r.GRPCLines <= 5*together*dials, "%d lines in gRPC's own log", r.GRPCLines)
	r.must(r.log.longest <= maxLine, "a line of log has %d bytes", r.log.longest)
	r.must(!r.log.forged, "a line of log was forged")
	r.must(r.Lines <= r.most(firstLines, maxLines), "%d lines of log in %v", r.Lines, r.Lasted)
	r.must(int(r.Stats.Dials) <= dials, "%d connections dialled in %v", r.Stats.Dials, r.Lasted)
	r.must(r.CloseErr == nil && r.CloseTook <= maxClose, "Close took %v: %v", r.CloseTook, r.CloseErr)
	r.must(r.Left == "", "left behind: %s", r.Left)

	switch a.held {
	case never:
		r.must(r.Looks.Admitted == 0, "a connection was admitted")
	case thrownOut:
		r.must(r.Looks.Admitted > 0, "no connection was admitted, so that the attack never began")
		switch within := c.within(a); {
		case r.Looks.Out > 0:
			r.must(r.Looks.Out <= within+c.Room, "the first connection was thrown out after %v, not %v", r.Looks.Out, within)
		default:
			r.must(false, "no connection was thrown out in %v", r.Lasted)
		}
	case harmless:
		r.must(r.Looks.Admitted > 0, "no connection was admitted, so that the attack never began")
	}
}

// most is how many of something there may be, so many at once and so many a second.
func (r *Result) most(first, perSecond int) int {
	return first + int(float64(perSecond)*r.Lasted.Seconds()) + 1
}

// within is how soon after its admission a connection has to be out, by the policy of health.
func (c Config) within(a attack) time.Duration {
	h := c.pool().Health
	if a.slow {
		return moment + 2*h.Interval + time.Duration(h.FailureThreshold)*max(h.Interval, h.Timeout)
	}
	return moment + max(detected, time.Duration(h.FailureThreshold+2)*h.Timeout)
}

// became is what the hostile enclave came to, in words.
func (r *Result) became() string {
	rate := float64(r.Stats.Dials) / r.Lasted.Seconds()
	switch {
	case r.Looks.Admitted == 0:
		return fmt.Sprintf("never admitted; %.0f dials/s", rate)
	case r.Stats.Ejections > 0:
		return fmt.Sprintf("%d ejections, first out after %s; %.0f dials/s", r.Stats.Ejections, short(r.Looks.Out), rate)
	case r.Looks.Left:
		return fmt.Sprintf("left rotation, first out after %s; %.0f dials/s", short(r.Looks.Out), rate)
	case r.Stats.Reconnects > 0:
		return fmt.Sprintf("%d connections replaced, first out after %s; %.0f dials/s", r.Stats.Reconnects, short(r.Looks.Out), rate)
	}
	return "stayed"
}

// calls is what became of the calls to it.
func (r *Result) calls() string {
	return fmt.Sprintf("%d, %d failed, worst %s", len(r.Evil.Took), r.Evil.Failed, short(quantile(r.Evil.Took, 1)))
}

// line is the result on one line.
func (r *Result) line() string {
	verdict := "ok    "
	if len(r.Broken) > 0 {
		verdict = "BROKEN"
	}
	return fmt.Sprintf("%s %-24s %-52s calls %-34s p99 %s → %s, heap +%d KiB, %d lines%s", verdict, r.Name, r.became(), r.calls(),
		short(quantile(r.Alone.Took, 0.99)), short(quantile(r.Beside.Took, 0.99)), r.HeapGrowth>>10, r.Lines, list(r.Broken))
}

func list(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "\n       " + strings.Join(lines, "\n       ")
}

// short is a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.3gµs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3gms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.3gs", d.Seconds())
}
