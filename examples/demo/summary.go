package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/load"
)

// summarize prints what the demonstration has shown, and reports whether all was as it should be.
func summarize(out *screen, r *result) bool {
	for _, l := range render(r, out.paint) {
		out.line(l)
	}
	return len(r.failings()) == 0
}

// render returns the summary as lines of at most 80 columns; paint puts text in a style.
func render(r *result, paint func(style, text string) string) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	title := func(text string) { lines = append(lines, "", paint(bold, text)) }

	s := r.signatures()
	title("Signatures")
	add("  %s made in %s by %d callers, %s verified, %s wrong",
		number(s.Made), short(r.Elapsed), r.Callers, number(s.Verified), number(s.Invalid))

	title("Latency of Sign, seen by the callers, at a third of what the machine manages")
	add("  %-11s %-21s%-21s%s", "", "before the fault", "during it", "after it")
	add("  %-11s %-7s%-7s%-7s%-7s%-7s%-7s%-7s%-7s%s", "", "p50", "p99", "max", "p50", "p99", "max", "p50", "p99", "max")
	for _, id := range r.Enclaves {
		during := r.During[id]
		if id == r.Victim {
			during = r.Return
		}
		line := fmt.Sprintf("  %-11s ", id)
		for _, l := range []*load.Report{r.Before[id], during, r.After[id]} {
			line += fmt.Sprintf("%-7s%-7s%-7s", short(l.Latency.P50), short(l.Latency.P99), short(l.Latency.Max))
		}
		lines = append(lines, strings.TrimRight(line, " "))
	}
	add("  For %s, \"during\" is after its restart.", r.Victim)

	title(fmt.Sprintf("Connections, %s, %d to each enclave", r.Transport, r.Wanted))
	add("  All were opened before the first call. Opened while the load ran:")
	for _, id := range r.Enclaves {
		if id == r.Victim {
			again := fmt.Sprintf("%d after its restart", r.Reopened)
			if r.Reopened > uint64(r.Wanted) { // attempts that took longer than the gateway waits are made again
				again += fmt.Sprintf(" (%d kept)", r.Wanted)
			}
			add("  %-11s %d, and %s; active: %d at its lowest", id, r.Opened[id], again, r.lowest(id))
			continue
		}
		add("  %-11s %d; active: %d at its lowest", id, r.Opened[id], r.lowest(id))
	}
	if r.slow() {
		add("  This machine is so slow that even healthy connections may not answer a health")
		add("  probe within %s; the gateway replaces those, and that counts as no failure.", short(probeTimeout))
		var failed uint64
		for _, l := range r.WarmUp {
			failed += l.Failed
		}
		if failed > 0 {
			add("  Nor do %s calls that failed when the machine was asked for all it can do.", number(failed))
		}
	}

	title(fmt.Sprintf("What the fault cost: %s killed with kill -9 after %s", r.Victim, short(r.Killed)))
	lines = append(lines, cost(r)...)

	title(`Routing "strict": the owner of a key signs with it, or nobody`)
	lines = append(lines, r.Strict.rows()...)
	title(fmt.Sprintf("Routing %q: the same fault, with a second gateway to the same enclaves", spillPolicy))
	lines = append(lines, r.Spill.Served.rows()...)
	lines = append(lines, moved(r)...)
	return append(lines, verdict(r, paint)...)
}

// cost says what the callers noticed of the fault.
func cost(r *result) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, "  "+fmt.Sprintf(format, args...)) }
	down := r.During[r.Victim]
	add("%s failed calls with its keys, in the %s that it was away", number(down.Failed), short(r.Listening-r.Killed))
	for _, kind := range slices.Sorted(maps.Keys(down.Errors)) {
		add("  %s with %s", number(down.Errors[kind].Count), kind)
	}
	if down.Failed > 0 {
		add("  told after %s (p50), %s (max); callers told not to retry: %s",
			short(down.ErrorLatency.P50), short(down.ErrorLatency.Max), number(r.Final))
	}
	add("Expected: a key lives in one enclave alone, so no other can sign in its place.")
	var others uint64
	for _, id := range r.Enclaves {
		if id != r.Victim {
			others += r.Before[id].Failed + r.During[id].Failed + r.After[id].Failed
		}
	}
	add("%s failed calls with the keys of the other enclaves", number(others))
	if r.Signing > 0 {
		add("its keys signed again %s after it listened again", short(max(r.Signing-r.Listening, time.Microsecond)))
	}
	if at, ok := r.full(); ok {
		add("all %d connections were back %s after it listened, at most", r.Wanted, short(max(at-r.Listening, sampleEvery)))
	}
	return lines
}

// moved says what became of the victim's keys where they may spill.
func moved(r *result) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, "  "+fmt.Sprintf(format, args...)) }
	a := r.Spill
	made, places := 0, []string{}
	for _, id := range slices.Sorted(maps.Keys(a.New)) {
		made += a.New[id]
		places = append(places, fmt.Sprintf("%d in %s", a.New[id], id))
	}
	add("%d keys of %s moved: %d old ones, and %d created while it was away", a.Old+made, r.Victim, a.Old, made)
	add("old: the others do not have them: %s calls answered NOT_FOUND;", number(a.NotFound))
	add("     back at their owner afterwards: %d of %d", a.Back, a.Old)
	add("new: created and signing %s;", strings.Join(places, ", "))
	add("     still there when %s was back: %d of %d, since a key lives", r.Victim, a.Stayed, made)
	add("     in one enclave alone and this gateway remembers where;")
	add("     the strict gateway does not know, and cannot sign with %d of %d", a.Unknown, made)
	add("A key created after that is in its owner: %s", a.Later)
	add("%s signatures made, %s verified, %s wrong", number(a.Signatures.Made), number(a.Signatures.Verified), number(a.Signatures.Invalid))
	return lines
}

// verdict says whether all was as it should be, and what was not.
func verdict(r *result, paint func(style, text string) string) []string {
	failings := r.failings()
	if len(failings) == 0 {
		return []string{"", paint(green, "PASS") + "  every signature verified; nobody but the killed enclave's callers noticed"}
	}
	lines := []string{"", paint(red, "FAILED")}
	for _, f := range failings {
		lines = append(lines, "  "+f)
	}
	return lines
}
