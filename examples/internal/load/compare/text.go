package compare

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// WriteText writes the tables for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	where := "the enclaves given"
	if r.OwnProcesses {
		where = "a fake enclave in a process of its own, unix socket"
	}
	fmt.Fprintf(&b, "%s, %d CPUs, GOMAXPROCS %d; %s\n", r.Go, r.CPUs, r.GOMAXPROCS, where)
	fmt.Fprintf(&b, "%d rounds in turn, %v each; medians of the rounds, (lowest–highest); every answer checked\n", r.Rounds, r.Turn)
	fmt.Fprintf(&b, "× is the throughput beside %q in the same round; CPU in seconds per 10 000 signatures;\n", Shared)
	fmt.Fprint(&b, "allocations are the client's, those of each request's deadline included\n")
	for _, t := range r.Tables {
		t.write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t Table) write(b *strings.Builder) {
	rows := [][]string{{"mode", "sign/s", "", "×", "p50", "p99", "p99.9", "CPU client", "CPU enclave", "allocs", "errors", "dials"}}
	for _, r := range t.Rows {
		rows = append(rows, r.cells())
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	fmt.Fprintf(b, "\n%s, %s\n", t.Signing, crowdText(t.Callers))
	for _, row := range rows {
		line := " "
		for i, cell := range row {
			fill := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 || i == 2 {
				line += " " + cell + fill
			} else {
				line += " " + fill + cell
			}
		}
		fmt.Fprintln(b, strings.TrimRight(line, " "))
	}
	for _, r := range t.Rows {
		if r.Errors > 0 {
			fmt.Fprintf(b, "  · %s: such as %s\n", r.Mode, r.Example)
		}
		if r.Wrong > 0 {
			fmt.Fprintf(b, "  · %s: %d WRONG ANSWERS\n", r.Mode, r.Wrong)
		}
	}
	for _, note := range t.Notes {
		fmt.Fprintf(b, "  · %s\n", note)
	}
}

func (r Row) cells() []string {
	cpu := func(f *Figure) string {
		if f == nil {
			return "–"
		}
		return fmt.Sprintf("%.3f", f.Median)
	}
	dials := "–"
	if r.Dials != nil {
		dials = fmt.Sprint(*r.Dials)
	}
	return []string{
		r.Mode, fmt.Sprintf("%.0f", r.Throughput.Median), fmt.Sprintf("(%.0f–%.0f)", r.Throughput.Low, r.Throughput.High),
		fmt.Sprintf("%.2f", r.Ratio.Median), latency(r.P50), latency(r.P99), latency(r.P999),
		cpu(r.ClientCPU), cpu(r.EnclaveCPU), fmt.Sprintf("%.1f", r.Allocs.Median), fmt.Sprint(r.Errors), dials,
	}
}

func crowdText(callers int) string {
	if callers == 1 {
		return "1 caller"
	}
	return fmt.Sprintf("%d callers", callers)
}

// latency is a figure in µs with three digits or so.
func latency(f Figure) string {
	d := time.Duration(f.Median * 1e3)
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(time.Millisecond).String()
	}
}
