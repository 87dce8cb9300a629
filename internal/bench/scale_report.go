package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// runScale takes the curve and writes it down. The status is 1 when a size could
// not be measured: that is in the page.
func runScale(ctx context.Context, p scalePlan, dir string, stderr io.Writer) int {
	machine, began := describeMachine(), time.Now()
	points := p.measure(ctx, stderr)
	page := p.page(machine, began, points)
	for name, content := range map[string][]byte{"scale.md": page, "scale.svg": scalePlot(points)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			fmt.Fprintln(stderr, "bench:", err)
			return 1
		}
	}
	if last := points[len(points)-1]; last.Error != "" {
		fmt.Fprintf(stderr, "bench: %d enclaves: %s\n", last.Enclaves, last.Error)
		return 1
	}
	return 0
}

// scaleColumns are the lines of the table; a page is wider than it is long.
var scaleColumns = []struct {
	name string
	of   func(scalePoint) string
}{
	{"connections", func(p scalePoint) string { return strconv.Itoa(p.Conns) }},
	{"time to `Ready`", func(p scalePoint) string { return ms(p.Ready) }},
	{"… processor time, client", func(p scalePoint) string { return ms(p.ReadyCPU) }},
	{"… processor time, enclaves", func(p scalePoint) string { return ms(p.ReadyServerCPU) }},
	{"attempts to connect", func(p scalePoint) string { return strconv.FormatUint(p.Dials, 10) }},
	{"idle: `Health.Interval`", func(p scalePoint) string { return p.Interval.String() }},
	{"idle: probes a second", func(p scalePoint) string { return number(p.Probes) }},
	{"idle: processors used, client", func(p scalePoint) string { return fmt.Sprintf("%.3f", p.IdleCPU) }},
	{"idle: processors used, enclaves", func(p scalePoint) string { return fmt.Sprintf("%.3f", p.IdleServerCPU) }},
	{"idle: connections ejected", func(p scalePoint) string { return strconv.FormatUint(p.Ejections, 10) }},
	{"heap in use + stacks, per connection", func(p scalePoint) string { return number(p.InUseKiB) + " KiB" }},
	{"live objects, per connection", func(p scalePoint) string { return number(p.LiveKiB) + " KiB" }},
	{"resident, per connection", func(p scalePoint) string { return number(p.RSSKiB) + " KiB" }},
	{"goroutines, per connection", func(p scalePoint) string { return fmt.Sprintf("%.2f", p.Goroutines) }},
	{"`Acquire` + `Release`, one enclave", func(p scalePoint) string { return number(p.AcquireOne) + " ns" }},
	{"`Acquire` + `Release`, all in turn", func(p scalePoint) string { return number(p.AcquireAll) + " ns" }},
	{"time to `Close`", func(p scalePoint) string { return ms(p.Close) }},
}

func ms(d time.Duration) string { return number(float64(d)/float64(time.Millisecond)) + " ms" }

// page is the whole of scale.md.
func (p scalePlan) page(m Machine, began time.Time, points []scalePoint) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# From 1 to 1000 enclaves\n\nWritten by `make bench-scale` on %s: %v. What it costs a gateway to keep %d connections to each of so many\n"+
		"enclaves. These are one other process, with a socket each, on the same machine; all but the lines that say so is the client's.\n\n",
		began.UTC().Format("2006-01-02"), m, p.conns)
	line := "| enclaves |"
	rule := "|---|"
	for _, point := range points {
		line += fmt.Sprintf(" %d |", point.Enclaves)
		rule += "---:|"
	}
	fmt.Fprintf(&b, "%s\n%s\n", line, rule)
	for _, c := range scaleColumns {
		line := "| " + c.name + " |"
		for _, point := range points {
			if point.Error != "" {
				line += " – |"
				continue
			}
			line += " " + c.of(point) + " |"
		}
		fmt.Fprintln(&b, line)
	}
	for _, point := range points {
		if point.Error != "" {
			fmt.Fprintf(&b, "\n%d enclaves were **not measured**: %q.\n", point.Enclaves, point.Error)
		}
	}
	b.WriteString("\n![memory, start, idle cost and Acquire over the number of enclaves](scale.svg)\n")
	b.WriteString(p.bounds(points))
	return b.Bytes()
}

// bounds works out what ends the curve, from its last complete point but one,
// where Health.Interval is the default still, and its last.
func (p scalePlan) bounds(points []scalePoint) string {
	var usual, last *scalePoint
	for i := range points {
		if points[i].Error != "" {
			continue
		}
		last = &points[i]
		if last.Interval == p.interval {
			usual = last
		}
	}
	if usual == nil || usual.Probes == 0 {
		return ""
	}
	if expected := float64(usual.Conns) / usual.Interval.Seconds(); usual.Probes > 1.5*expected {
		return fmt.Sprintf("\n## What bounds it\n\nProbes that ask for probes. %d idle connections should make %.0f a second and made %.0f: on processors that both ends\n"+
			"share an answer that is late makes all connections of its enclave be asked, which makes more of them late, and some are\n"+
			"ejected for it. Figures of that column and beyond are those of this state, not of an idle pool.\n", usual.Conns, expected, usual.Probes)
	}
	probe := usual.IdleCPU / usual.Probes // seconds of one processor
	connect := last.ReadyCPU.Seconds() / float64(last.Conns)
	return fmt.Sprintf(`
## What bounds it

- **Idle probes**, first. One takes %.0f µs of a processor here (%d enclaves, at the default interval). A connection without calls makes
  one every Health.Interval, so a whole processor is gone at %.0f connections at 1s, and 16 000 connections want %.1f processors. Past
  %.0f probes a second this run raises the interval, because the enclaves share the machine. Bytes that arrive save the probe, so
  connections with traffic cost nothing of this. The price of a longer interval is paid by idle connections only: a frozen enclave
  is found out when a call waits on it, as ever, or that much later.
- **The start**: %.2f ms of a processor for a connection, health check included. Attempts are let in %d at a time
  (pool/starts.go): all at once, those of 1000 enclaves take longer than DialTimeout together, and none would come about.
- **Memory**: %.0f MiB for the %d connections of the last column.
- **Open files**: one for each connection. The soft limit is raised to the hard one; where that is too low, the table says so.
- **Acquire** does not depend on how many enclaves there are, but for the caches: the lines of one enclave are at hand, those of
  all in turn are not.

Times belong to this machine. The limit of the command is %v; the processes that it starts end with it.
`,
		probe*1e6, usual.Enclaves, 1/probe, 16000*probe, p.mostProbes,
		connect*1e3, 64, last.InUseKiB*float64(last.Conns)/1024, last.Conns, p.limit)
}
