package load

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// String is the interval on one line of at most about 120 characters.
func (i Interval) String() string {
	line := fmt.Sprintf("%6s  %8.0f/s  p50 %-8s p99 %-8s max %-8s", i.End.Round(100*time.Millisecond), i.Throughput(),
		short(i.Latency.P50), short(i.Latency.P99), short(i.Latency.Max))
	if i.Failed > 0 {
		line += fmt.Sprintf("  %d failed (%s)", i.Failed, kinds(i.Errors))
	}
	if i.Invalid > 0 {
		line += fmt.Sprintf("  %d INVALID SIGNATURES", i.Invalid)
	}
	return line
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	loop := "closed loop"
	if r.Rate > 0 {
		loop = fmt.Sprintf("open loop at %g/s, latency from the intended start", r.Rate)
	}
	fmt.Fprintf(&b, "%s, %d callers on %d connections, %d keys (%s), %s\n", r.Mode, r.Callers, r.Connections, r.Keys, r.Algorithm, loop)
	fmt.Fprintf(&b, "calls       %d succeeded, %d failed in %s: %.0f/s\n", r.Succeeded, r.Failed, r.Elapsed.Round(time.Millisecond), r.Throughput)
	if r.Missed > 0 {
		fmt.Fprintf(&b, "missed      %d calls of the schedule were not begun\n", r.Missed)
	}
	writeLatency(&b, "latency", r.Latency)
	if r.Failed > 0 {
		writeLatency(&b, "of failed", r.ErrorLatency)
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(&b, "error       %d × %s, such as: %s\n", r.Errors[kind].Count, kind, r.Errors[kind].Example)
	}
	s := r.Signatures
	fmt.Fprintf(&b, "signatures  %d made, %d verified, %d invalid\n", s.Made, s.Verified, s.Invalid)
	if s.Invalid > 0 {
		fmt.Fprintf(&b, "invalid     such as: %s\n", s.Example)
	}
	if r.Mode == Stream {
		fmt.Fprintf(&b, "streams     %d opened\n", r.StreamsOpened)
	}
	if r.Interrupted {
		fmt.Fprintf(&b, "The run was ended early.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeLatency(b *strings.Builder, name string, l Latency) {
	if l.Count > 0 {
		fmt.Fprintf(b, "%-10s  p50 %s  p90 %s  p99 %s  p99.9 %s  max %s\n", name,
			short(l.P50), short(l.P90), short(l.P99), short(l.P999), short(l.Max))
	}
}

func kinds(errors map[string]Errors) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(errors)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, errors[kind].Count))
	}
	return strings.Join(parts, ", ")
}

// short is a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(100 * time.Nanosecond).String()
	case d < 100*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(time.Millisecond).String()
	}
}
