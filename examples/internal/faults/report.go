package faults

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/pool"
)

// Machine is what a report was made on.
type Machine struct {
	CPUs        int
	System      string // such as "linux/amd64, kernel 6.18.44"
	Go, GRPC    string
	LoadAverage string // of the last minute, at the start; empty: not known
	Began       time.Time
}

// DescribeMachine looks at this one.
func DescribeMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), GRPC: grpc.Version, Began: time.Now()}
	// Both files are Linux's; elsewhere less is said.
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.System += ", kernel " + strings.TrimSpace(string(kernel))
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.LoadAverage, _, _ = strings.Cut(string(load), " ")
	}
	return m
}

// String is the machine in one sentence.
func (m Machine) String() string {
	s := fmt.Sprintf("%d CPUs, %s, %s, grpc-go %s", m.CPUs, m.System, m.Go, m.GRPC)
	if m.LoadAverage != "" {
		s += ", load average " + m.LoadAverage + " at the start"
	}
	return s
}

// Text writes the report for a terminal.
func (r *Report) Text(w io.Writer) {
	for _, res := range r.Results {
		fmt.Fprintf(w, "%2d  %s\n", res.Row, res.Fault)
		fmt.Fprintf(w, "    held to: %s\n", res.Held)
		for _, l := range res.lines() {
			fmt.Fprintf(w, "      %s\n", l)
		}
		fmt.Fprintf(w, "    ⇒ %s\n\n", res.Verdict())
	}
}

// lines are all that a result has to say.
func (r *Result) lines() []string {
	var out []string
	add := func(prefix string, lines []string) {
		for _, l := range lines {
			out = append(out, prefix+l)
		}
	}
	add("", r.Measured)
	add("not shown here: ", r.NotShown)
	add("not met: ", r.Missed)
	add("BROKEN: ", r.Broken)
	return out
}

var transportName = map[stack.Transport]string{stack.Unix: "unix sockets", stack.Vsock: "AF_VSOCK within the machine"}

// Markdown writes the report as a page; command is how it was made.
func (r *Report) Markdown(w io.Writer, command string) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	if r.Transport == stack.Vsock {
		p("# Reliability on real AF_VSOCK")
	} else {
		p("# Reliability")
	}
	p("")
	p("What the pool does when enclaves, connections, or its own process fail. Each row is a fault that is really made: on fake")
	p("enclaves that are processes of their own, %d connections to each, while callers make calls. The page is written by the", conns)
	p("command below; what it measures, and how, is in `examples/internal/faults`, one file a row.")
	p("")
	if r.Slowness > 0 && r.Transport == stack.Vsock {
		command = "make faults-vsock`, which runs `" + command + "` in the test VM"
	} else {
		command += "`"
	}
	p("- Made on %s with `%s, over %s.", r.Machine.Began.Format(time.DateOnly), command, transportName[r.Transport])
	p("- Machine: %s. Callers, pool and enclaves share it.", r.Machine)
	p("- It made %.0f calls/s with nothing else to do; the rows ask for %.0f, where they say nothing else.", r.Bears, r.Rate)
	p("- A failed call counts whatever it failed with. *not sent*, *refused* and *unknown* are the pool's word on whether it may")
	p("  have been executed (`pool.Disposition`).")
	p("- **met**: all of it. **not met**: a timing beyond its limit. **BROKEN**: a behaviour that is not as it has to be, or a timing")
	p("  whose median is more than %d times its limit; the command then exits with 1. **not shown here**: why is said.", hopeless)
	if r.Slowness > 0 {
		p("- The machine is emulated in software and bears %.0f times fewer calls than the one that the limits are for (%d/s). So a limit", r.Slowness, reference)
		p("  counts %.0f times here, but for what of it is waiting (%s for a sign of life, DialTimeout for a handshake), which takes as", r.Slowness, silence)
		p("  long on any machine; the limit is beside each timing. Asserted as they are anywhere are all behaviours, and that all")
		p("  connections are back within %s. DialTimeout is %v here, since 32 handshakes at once may outlast the default of %v.", required,
			emulatedDialTimeout, pool.DefaultConfig().DialTimeout)
		p("  How fast the pool is these figures do not say: see [reliability.md](reliability.md).")
	}
	if r.Quick {
		p("- This was a quick run: few and short repetitions, no timing held to its limit.")
	}
	p("")
	p("| # | fault | held to | |")
	p("|---|---|---|---|")
	for _, res := range r.Results {
		p("| [%d](#%d) | %s | %s | %s |", res.Row, res.Row, cell(res.Fault), cell(res.Held), res.Verdict())
	}
	for _, res := range r.Results {
		p("")
		p("## %d", res.Row)
		p("")
		p("**%s.** Held to: %s.", upper(res.Fault), res.Held)
		p("")
		p("%s", res.How)
		p("")
		for _, l := range res.lines() {
			p("- %s", l)
		}
		p("")
		p("**%s**", res.Verdict())
	}
}

// cell keeps text from ending a table's cell.
func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }

// upper begins text with a capital letter.
func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
