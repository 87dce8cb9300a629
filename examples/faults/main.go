package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/command"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/faults"
)

// limit is the longest a run may take, whatever happens.
const limit = 25 * time.Minute

func main() {
	if os.Getenv(faults.ChildEnv) != "" {
		if err := faults.Child(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "faults:", err)
			os.Exit(command.Failed)
		}
		return
	}
	os.Exit(run(command.Context(), os.Args[1:], os.Stdout, os.Stderr))
}

// settings are what the flags say.
type settings struct {
	config faults.Config
	out    string
}

// parse reads the flags; help goes to stdout and is then the error flag.ErrHelp.
func parse(args []string, stdout io.Writer) (settings, error) {
	var s settings
	fs := command.New("faults", "usage: faults [flags]\n\n"+
		"Puts the pool through real faults and reports what it saw beside what it is held to.\n"+
		"Exits with 0 when every behaviour was as it has to be, 1 when one was not, 2 when the flags are wrong.\n\n")
	fs.Func("rows", "numbers of the rows to run, such as 1,2,4 (default all)", func(text string) error {
		for _, part := range strings.Split(text, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(part))
			if err != nil {
				return fmt.Errorf("want numbers of %v with commas between", faults.Numbers())
			}
			s.config.Rows = append(s.config.Rows, n)
		}
		return nil
	})
	transport := fs.String("transport", string(stack.Unix), `"unix" sockets, or "vsock": AF_VSOCK within this machine`)
	fs.BoolVar(&s.config.Quick, "quick", false, "few and short repetitions, no timing is held to its limit; half a minute")
	fs.BoolVar(&s.config.Emulated, "emulated", false, "this machine is emulated in software: timings are held to limits for a slower machine")
	fs.BoolVar(&s.config.StepClock, "step-clock", false, "let row 18 step this machine's clock by an hour and back, as root; for a machine that is there for nothing else")
	fs.DurationVar(&s.config.Outage, "outage", 0, "length of the outage of row 23 (default 1m, with -quick 5s)")
	fs.BoolVar(&s.config.Keep, "keep", false, "keep the logs of pools and processes, and say where they are")
	fs.StringVar(&s.out, "o", "", "file to write the report to, as Markdown; - for standard output, instead of the other form")
	if err := fs.Parse(args, stdout); err != nil {
		return s, err
	}
	s.config.Transport = stack.Transport(*transport)
	fs.Check(s.config.Transport.Known(), "transport", *transport, "unix or vsock")
	fs.Check(s.config.Outage >= 0 && s.config.Outage <= 10*time.Minute, "outage", s.config.Outage, "0 to 10m")
	fs.Add(s.config.Validate())
	return s, fs.Err()
}

// run does it all and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stdout)
	if err != nil {
		return command.Refused("faults", err, stderr)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s.config.Say = func(line string) { fmt.Fprintln(stdout, line) }
	s.config.Child = []string{}
	report, err := faults.Run(ctx, s.config)
	made := strings.Join(append([]string{"go run ./faults"}, args...), " ")
	if report != nil && len(report.Results) > 0 {
		fmt.Fprintln(stdout)
		if s.out == "-" {
			report.Markdown(stdout, made)
		} else {
			report.Text(stdout)
		}
	}
	if err == nil && s.out != "" && s.out != "-" {
		err = write(s.out, report, made)
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "faults:", err)
		return command.Failed
	case report.Broken():
		return command.Failed
	}
	return command.Fine
}

func write(path string, report *faults.Report, made string) error {
	var b strings.Builder
	report.Markdown(&b, made)
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
