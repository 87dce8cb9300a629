package benchreport

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// markdown is the report for people.
func (r *Report) markdown() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Load report\n")
	p("- Made on %s with `%s`, in %v.", r.Started.UTC().Format("2006-01-02 15:04 MST"), r.Command, r.Elapsed.Round(time.Second))
	p("- Machine: %s. Load generator, gateway and %d enclaves share it.", r.Machine, len(enclaves))
	p("- %d callers on %d connections to the gateway; gateway to enclaves over %s, on warm streams; enclaves sign with secp256k1.", r.Callers, connections, r.Transport)
	p("- How it is measured, and what may be compared with what: `docs/bench/README.md`.\n")
	p("| scenario | calls/s | failed | p50 | p99 | p99.9 | max | dials | criteria |")
	p("|---|---|---|---|---|---|---|---|---|")
	for _, res := range r.Results {
		l := res.Load
		met := 0
		for _, c := range res.Criteria {
			if c.Met {
				met++
			}
		}
		p("| [%s](#%s) | %.0f | %d | %s | %s | %s | %s | %d | %d of %d met |", res.Title, anchor(res.Title), l.Throughput, l.Failed,
			short(l.Latency.P50), short(l.Latency.P99), short(l.Latency.P999), short(l.Latency.Max),
			res.Samples[len(res.Samples)-1].Dials-res.Samples[0].Dials, met, len(res.Criteria))
	}
	p("")
	for _, res := range r.Results {
		res.write(p)
	}
	if s := r.Starts; s != nil {
		p("## With and without a connection set-up\n")
		p("One Sign at a time, straight to one enclave, without the gateway.\n")
		p("| | n | median | p99 | worst |\n|---|---|---|---|---|")
		for _, row := range []struct {
			name string
			s    Spread
		}{
			{"a connection for each request", s.Dial}, {"first call on a pool that is Ready", s.Cold},
			{"on a pool in use", s.Steady}, {"until a pool of 16 connections is Ready", s.Ready},
		} {
			p("| %s | %d | %s | %s | %s |", row.name, row.s.N, short(row.s.Median), short(row.s.P99), short(row.s.Worst))
		}
		p("")
	}
	return b.String()
}

func (r *Result) write(p func(string, ...any)) {
	l := r.Load
	p("## %s\n", r.Title)
	p("%s For %v.\n", r.About, l.Elapsed.Round(time.Second))
	p("![latency over time, with the pool's events](%s.svg)\n", r.Name)
	p("| held to | found | |\n|---|---|---|")
	for _, c := range r.Criteria {
		verdict := "met"
		if !c.Met {
			verdict = "**not met**"
		}
		p("| %s | %s | %s |", c.Text, c.Found, verdict)
	}
	p("")
	p("- %d calls succeeded, %.0f/s: p50 %s, p90 %s, p99 %s, p99.9 %s, max %s", l.Succeeded, l.Throughput, short(l.Latency.P50), short(l.Latency.P90),
		short(l.Latency.P99), short(l.Latency.P999), short(l.Latency.Max))
	p50, n := r.Acquire.percentile(0.5)
	p99, _ := r.Acquire.percentile(0.99)
	p999, _ := r.Acquire.percentile(0.999)
	p("- pool_acquire, bounds of buckets: p50 ≤ %.3g ms, p99 ≤ %.3g ms, p99.9 ≤ %.3g ms (n=%.0f)", p50, p99, p999, n)
	first, last := r.Samples[0], r.Samples[len(r.Samples)-1]
	p("- active_conns: %s at the end; goroutines of the gateway: %d → %d", conns(last), first.Goroutines, last.Goroutines)
	for _, name := range slices.Sorted(maps.Keys(last.Processes)) {
		a, z := first.Processes[name], last.Processes[name]
		if z.Memory > 0 && z.CPU >= a.CPU {
			p("- %s: %.2f cores, %d → %d MiB", name, (z.CPU-a.CPU)/(last.At-first.At).Seconds(), a.Memory>>20, z.Memory>>20)
		}
	}
	p("- events: %s\n", counted(r.Events))
}

func conns(s Sample) string {
	var parts []string
	for _, id := range slices.Sorted(maps.Keys(s.Conns)) {
		parts = append(parts, fmt.Sprintf("%s %d", id, s.Conns[id]))
	}
	return strings.Join(parts, ", ")
}

// counted sums events up by what they say.
func counted(all []Event) string {
	n := map[string]int{}
	for _, e := range all {
		n[e.Message]++
	}
	var parts []string
	for _, m := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%d × %s", n[m], m))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, "; ")
}

// anchor is the name that a heading gets.
func anchor(title string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(title) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
			b.WriteRune(c)
		case c == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}
