package alternatives

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// medians sums rounds up.
func medians(rounds []Figures) Figures {
	f := Figures{
		PerSecond: median(rounds, func(f Figures) float64 { return f.PerSecond }),
		P50:       median(rounds, func(f Figures) time.Duration { return f.P50 }),
		P99:       median(rounds, func(f Figures) time.Duration { return f.P99 }),
		Longest:   median(rounds, func(f Figures) time.Duration { return f.Longest }),
		Wasted:    median(rounds, func(f Figures) time.Duration { return f.Wasted }),
		Stall:     median(rounds, func(f Figures) time.Duration { return f.Stall }),
		Recovery:  median(rounds, func(f Figures) time.Duration { return f.Recovery }),
		Codes:     map[string]int{},
	}
	for _, r := range rounds {
		f.Calls, f.Failed = f.Calls+r.Calls, f.Failed+r.Failed
		for code, n := range r.Codes {
			f.Codes[code] += n
		}
		if r.Recovery < 0 {
			f.Recovery = -1 // one that did not recover is not to hide behind two that did
		}
	}
	return f
}

func median[T cmp.Ordered](rounds []Figures, of func(Figures) T) T {
	var all []T
	for _, r := range rounds {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// Markdown is the report as tables. head comes first.
func (r *Report) Markdown(head string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("%s", head)
	p("| way | what it is |\n|---|---|")
	for i, name := range r.Ways {
		p("| %s | %s |", name, r.About[i])
	}
	p("\n## Steady load\n")
	p("Calls per second, p50 and p99; medians of %d turns of %v, taken alternately.\n", r.Rounds, r.Turn)
	columns, rule := "", ""
	for _, s := range r.Steady {
		columns += fmt.Sprintf(" %d callers: /s | p50 | p99 |", s.Callers)
		rule += "---|---|---|"
	}
	p("| way |%s\n|---|%s", columns, rule)
	for i, name := range r.Ways {
		cells := ""
		for _, s := range r.Steady {
			f := s.Rows[i]
			cells += fmt.Sprintf(" %.0f | %s | %s |", f.PerSecond, short(f.P50), short(f.P99))
		}
		p("| %s |%s", name, cells)
	}
	for _, f := range r.Faults {
		p("\n## %s\n", f.Title)
		p("%s %d callers in a closed loop, each call with a deadline of %v. *Stall* is the longest time in which no call of anybody's succeeded, "+
			"*longest* the longest call, *recovery* the time from the fault's end until the rate is back at 90 %%. Failures are those of %d rounds; whoever fails calls again after %v, "+
			"so a way that refuses at once fails more often and keeps callers shorter: *in failed calls* is the time that all of them spent there.\n",
			f.About, f.Callers, callTimeout, r.Rounds, failurePause)
		p("| way | calls/s | p99 | longest | failed calls | in failed calls | stall | recovery |\n|---|---|---|---|---|---|---|---|")
		for i, name := range r.Ways {
			row := f.Rows[i]
			back := "not within " + after.String()
			if row.Recovery >= 0 {
				back = short(row.Recovery)
			}
			p("| %s | %.0f | %s | %s | %s | %s | %s | %s |", name, row.PerSecond, short(row.P99), short(row.Longest), failed(row), short(row.Wasted), short(row.Stall), back)
		}
	}
	return b.String()
}

func failed(f Figures) string {
	if f.Failed == 0 {
		return fmt.Sprintf("0 of %d", f.Calls)
	}
	parts := slices.Sorted(maps.Keys(f.Codes))
	return fmt.Sprintf("%d of %d (%s)", f.Failed, f.Calls, strings.Join(parts, ", "))
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
