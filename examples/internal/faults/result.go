package faults

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// hopeless is how many times over its limit the median of a timing has to be to count as a broken behaviour. Short of
// that a missed limit is reported and no more: timings depend on the machine, and on who else is using it.
const hopeless = 5

// Result is what a row has shown.
type Result struct {
	// Row is its number; Fault says what happens, Held what is asked of the pool then.
	Row         int
	Fault, Held string
	// How says how that is measured.
	How string
	// Measured are the figures, one a line.
	Measured []string
	// Missed are the timings beyond their limit, Broken the behaviours that were not as they have to be.
	Missed, Broken []string
	// NotShown says what the row does not show here, and why.
	NotShown []string
	// Took is how long the row ran.
	Took time.Duration

	quick bool
	// slowness is how much longer work takes here than on a machine of its own, for which the limits are. 0: no longer.
	slowness float64
}

// Verdict is one of "met", "not met", "BROKEN" and "not shown here".
func (r *Result) Verdict() string {
	switch {
	case len(r.Broken) > 0:
		return "BROKEN"
	case len(r.Missed) > 0:
		return "not met"
	case len(r.Measured) == 0:
		return "not shown here"
	case len(r.NotShown) > 0:
		return "met, in part not shown"
	}
	return "met"
}

// say adds a figure.
func (r *Result) say(format string, args ...any) {
	r.Measured = append(r.Measured, fmt.Sprintf(format, args...))
}

// must notes a broken behaviour unless ok.
func (r *Result) must(ok bool, format string, args ...any) {
	if !ok {
		r.Broken = append(r.Broken, fmt.Sprintf(format, args...))
	}
}

// aim notes a missed goal unless ok.
func (r *Result) aim(ok bool, format string, args ...any) {
	if !ok {
		r.Missed = append(r.Missed, fmt.Sprintf(format, args...))
	}
}

// notShown notes what is left out, and why.
func (r *Result) notShown(format string, args ...any) {
	r.NotShown = append(r.NotShown, fmt.Sprintf(format, args...))
}

// goal limits a quantile of a timing; 1 is the worst.
type goal struct {
	quantile float64
	limit    time.Duration
	waits    time.Duration // the part of limit that passes in waiting, as long on any machine; the rest is work
}

func worst(limit time.Duration) goal { return goal{quantile: 1, limit: limit} }

// waiting says how much of the limit passes in waiting.
func (g goal) waiting(part time.Duration) goal {
	g.waits = part
	return g
}

// on is the limit on a machine that is so many times slower.
func (g goal) on(slowness float64) time.Duration {
	return g.waits + time.Duration(float64(g.limit-g.waits)*max(1, slowness))
}

// timing adds a timing's figures and holds it to its goals. In a quick run nothing is held: it has too few samples, and
// is used on machines that are busy.
func (r *Result) timing(name string, samples []time.Duration, goals ...goal) {
	if len(samples) == 0 {
		r.aim(r.quick, "%s: no samples", name)
		return
	}
	slices.Sort(samples)
	text := fmt.Sprintf("%s: median %s, ", name, short(quantile(samples, 0.5)))
	if len(samples) >= 50 {
		text += fmt.Sprintf("p90 %s, p99 %s, ", short(quantile(samples, 0.9)), short(quantile(samples, 0.99)))
	}
	text += fmt.Sprintf("worst %s (n=%d)", short(samples[len(samples)-1]), len(samples))
	if r.slowness > 1 && !r.quick {
		for _, g := range goals {
			text += fmt.Sprintf("; limit here for %s %s", quantileName(g.quantile), short(g.on(r.slowness)))
		}
	}
	r.say("%s", text)
	if r.quick {
		return
	}
	for _, g := range goals {
		got, limit := quantile(samples, g.quantile), g.on(r.slowness)
		r.aim(got <= limit, "%s: %s is %s, limit %s", name, quantileName(g.quantile), short(got), short(limit))
		median := quantile(samples, 0.5)
		r.must(median <= hopeless*limit, "%s: even the median is %s, more than %d times the limit of %s", name, short(median), hopeless, short(limit))
	}
}

// quantile is the nearest-rank quantile of sorted samples: the smallest that at least the share q does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(q * float64(len(sorted)))
	if float64(rank) < q*float64(len(sorted)) {
		rank++
	}
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func quantileName(q float64) string {
	switch q {
	case 1:
		return "the worst"
	case 0.5:
		return "the median"
	}
	return "p" + strings.TrimSuffix(fmt.Sprintf("%.1f", q*100), ".0")
}

// short is a duration with three digits.
func short(d time.Duration) string {
	switch abs := max(d, -d); {
	case abs < time.Microsecond:
		return d.String()
	case abs < time.Millisecond:
		return fmt.Sprintf("%.3gµs", float64(d)/1e3)
	case abs < time.Second:
		return fmt.Sprintf("%.3gms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.3gs", d.Seconds())
}
