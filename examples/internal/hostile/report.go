package hostile

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Report is what a run has shown.
type Report struct {
	Config  Config
	Results []*Result
	Began   time.Time
}

// Broken is whether a behaviour was not as it has to be.
func (r *Report) Broken() bool {
	return slices.ContainsFunc(r.Results, func(r *Result) bool { return len(r.Broken) > 0 })
}

// p99s are the healthy enclave's, of each row.
func (r *Report) p99s() (alone, beside []time.Duration) {
	for _, res := range r.Results {
		alone = append(alone, quantile(res.Alone.Took, 0.99))
		beside = append(beside, quantile(res.Beside.Took, 0.99))
	}
	return alone, beside
}

// Markdown writes the report as a page. command is how it was made, machine on what.
func (r *Report) Markdown(w io.Writer, command, machine string) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("# Hostile peers")
	p("")
	p("What an enclave can do that speaks HTTP/2 to hurt. Each row is one way of doing so, on every connection the enclave has, while")
	p("a healthy enclave in the same pool is called %d times a second. The page is written by the command below; the", callers*int(time.Second/pause))
	p("attacks are in `examples/internal/hostile`.")
	p("")
	p("- Made on %s with `%s`.", r.Began.Format(time.DateOnly), command)
	p("- Machine: %s. Pool, callers and both enclaves share it. An enclave has", machine)
	p("  processors of its own, so the hostile one has the lowest priority here: what it costs others is what the pool does about it.")
	p("  The p99 are printed, not held to anything.")
	p("- %d connections to each enclave; %v of the healthy one alone, then %v beside the hostile one. Calls to that have a", r.Config.Conns, r.Config.Calm, r.Config.Storm)
	p("  deadline of %v; *worst* is the longest of them.", evilDeadline)
	p("- Held in every row: no call to the healthy enclave fails; calls to the hostile one end by their deadline (and %v for a", r.Config.Room)
	p("  busy machine); the heap of the pool's process grows by at most %d MiB; at most %d connections dialled a second, beyond the", 2*maxHeapGrowth>>20, maxDials)
	p("  first %d; a line of log has at most %d bytes, no line is forged, and there are at most %d a second beyond the first %d; errors", firstDials, maxLine, maxLines, firstLines)
	p("  have at most %d KiB; Close returns within %v; no goroutine and no file is left after it.", maxError>>10, maxClose)
	p("- Held where connections are thrown out: the first is out within %v of its admission, or %v where the enclave seems to be alive,",
		r.Config.within(attack{}), r.Config.within(attack{slow: true}))
	p("  and %v for a busy machine; every attack begins %v after it.", r.Config.Room, moment)
	p("- Log lines are counted at level debug. The heap is what is allocated and not yet swept, stacks included, at its highest.")
	alone, beside := r.p99s()
	p("- The healthy enclave's p99 over all rows: %s in the middle and %s at most without a hostile one, %s and %s beside one.",
		short(quantile(alone, 0.5)), short(quantile(alone, 1)), short(quantile(beside, 0.5)), short(quantile(beside, 1)))
	p("")
	p("| attack | what it does | held to | what became of it | calls to it | healthy p99 alone → beside | heap | log lines |")
	p("|---|---|---|---|---|---|---|---|")
	for _, res := range r.Results {
		name := res.Name
		if len(res.Broken) > 0 {
			name += " **BROKEN**: " + strings.Join(res.Broken, "; ")
		}
		p("| %s | %s | %v | %s | %s | %s → %s | +%.1f MiB | %d |", name, res.Does, res.Held, res.became(), res.calls(),
			short(quantile(res.Alone.Took, 0.99)), short(quantile(res.Beside.Took, 0.99)), float64(res.HeapGrowth)/(1<<20), res.Lines)
	}
}
