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
	maxHeapGrowth = 96 << 20
	// maxLateness is how long after its deadline a call to the hostile enclave may return, on a machine that is busy.
	maxLateness = 2 * time.Second
	maxError    = 80 << 10 // the enclave's own status may have 64 KiB of headers
	maxOwnError = 1 << 10
	maxLine     = 2 << 10
	maxDials    = 120 // a second, on average, beyond the first connections
	maxClose    = 2 * time.Second
	maxLines    = 100 // a second, on average, beyond the first
	firstLines  = 500
)

// Result is what an attack has shown.
type Result struct {
	Name, Does string
	Held       outcome
	// Alone and Beside are the calls to the healthy enclave without and with the hostile one, Evil those to that.
	Alone, Beside, Evil Calls
	Looks               Looks
	Stats               pool.EnclaveStats
	Lasted              time.Duration
	HeapGrowth          int64
	Lines, LongestLine  int
	GRPCLines           int // in gRPC's own log
	Forged              bool
	CloseErr            error
	CloseTook           time.Duration
	Left                string // that should have gone
	// Broken are the behaviours that were not as they have to be.
	Broken []string
}

func (r *Result) must(ok bool, format string, args ...any) {
	if !ok {
		r.Broken = append(r.Broken, fmt.Sprintf(format, args...))
	}
}

// judge holds the result to what has to be.
func (r *Result) judge(a attack, conns int) {
	r.must(r.Beside.Failed == 0, "%d of %d calls to the healthy enclave failed, such as with %v", r.Beside.Failed, len(r.Beside.Took), r.Beside.Failure)
	r.must(r.Alone.Failed == 0, "%d calls to the healthy enclave failed before there was a hostile one", r.Alone.Failed)
	r.must(r.HeapGrowth <= maxHeapGrowth, "the heap grew by %d MiB", r.HeapGrowth>>20)
	worst := quantile(r.Evil.Took, 1)
	r.must(worst <= evilDeadline+maxLateness, "a call with a deadline of %v to the hostile enclave took %v", evilDeadline, worst)
	r.must(r.Evil.LongestError <= maxError, "a caller got an error of %d bytes", r.Evil.LongestError)
	r.must(r.Evil.LongestOwn <= maxOwnError, "an error of the pool's has %d bytes", r.Evil.LongestOwn)
	r.must(r.GRPCLines <= int(maxDials*r.Lasted.Seconds())*5, "%d lines in gRPC's own log", r.GRPCLines)
	r.must(r.LongestLine <= maxLine, "a line of log has %d bytes", r.LongestLine)
	r.must(!r.Forged, "a line of log was forged")
	r.must(r.Lines <= firstLines+int(maxLines*r.Lasted.Seconds()), "%d lines of log in %v", r.Lines, r.Lasted)
	dials := int(r.Stats.Dials) - conns
	r.must(dials <= int(maxDials*r.Lasted.Seconds()), "%d connections dialled in %v", r.Stats.Dials, r.Lasted)
	r.must(r.CloseErr == nil && r.CloseTook <= maxClose, "Close took %v: %v", r.CloseTook, r.CloseErr)
	r.must(r.Left == "", "left behind: %s", r.Left)

	switch a.held {
	case never:
		r.must(!r.Looks.Admitted, "a connection was admitted")
	case thrownOut:
		r.must(r.Looks.Admitted, "no connection was admitted, so that the attack never began")
		r.must(dials > 0 || r.Stats.Ejections > 0, "no connection was thrown out")
	case harmless:
		r.must(r.Looks.Admitted, "no connection was admitted, so that the attack never began")
	}
}

// became is what the hostile enclave came to, in words.
func (r *Result) became() string {
	switch {
	case !r.Looks.Admitted:
		return fmt.Sprintf("never admitted; %.0f dials/s", float64(r.Stats.Dials)/r.Lasted.Seconds())
	case r.Stats.Ejections > 0:
		return fmt.Sprintf("%d ejections; %.0f dials/s", r.Stats.Ejections, float64(r.Stats.Dials)/r.Lasted.Seconds())
	case r.Looks.Out:
		return fmt.Sprintf("left rotation; %.0f dials/s", float64(r.Stats.Dials)/r.Lasted.Seconds())
	case r.Stats.Reconnects > 0:
		return fmt.Sprintf("%d connections replaced; %.0f dials/s", r.Stats.Reconnects, float64(r.Stats.Dials)/r.Lasted.Seconds())
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
	return fmt.Sprintf("%s %-24s %-44s calls %-34s p99 %s → %s, heap +%d KiB, %d lines%s", verdict, r.Name, r.became(), r.calls(),
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
