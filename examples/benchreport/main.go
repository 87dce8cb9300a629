package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/benchreport"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

// Exit codes.
const (
	exitFine     = 0
	exitNotMet   = 1
	exitBadFlags = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once, and its children with it
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// settings are what the flags say.
type settings struct {
	config benchreport.Config
	out    string
}

// parse reads the flags; help goes to stdout and is then the error flag.ErrHelp.
func parse(args []string, stdout io.Writer) (settings, error) {
	var s settings
	fs := flag.NewFlagSet("benchreport", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // the caller prints the error
	fs.DurationVar(&s.config.Duration, "duration", time.Minute, "length of the steady load; the others take a sixth of it, from 10s to 1m")
	fs.IntVar(&s.config.Callers, "callers", 500, "callers at work at the same time")
	only := fs.String("only", "", "scenarios to run beside the steady load, with commas between (default all)")
	transport := fs.String("transport", string(stack.Unix), `"unix" sockets, or "vsock": AF_VSOCK within this machine`)
	fs.StringVar(&s.out, "o", "report", "folder to write report.md, its plots and data.json to")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, "usage: benchreport [flags]\n\nExits with 0 when every criterion is met, 1 when one is not, 2 when the flags are wrong.\n\n")
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return s, err
	case err != nil:
		return s, err
	case fs.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if *only != "" {
		s.config.Only = strings.Split(*only, ",")
	}
	s.config.Transport = stack.Transport(*transport)
	if s.config.Transport != stack.Unix && s.config.Transport != stack.Vsock {
		return s, fmt.Errorf("-transport: %q is not valid: want unix or vsock", *transport)
	}
	return s, s.config.Validate()
}

// run does it all and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitFine
	}
	if err != nil {
		fmt.Fprintf(stderr, "benchreport: %v\n", err)
		return exitBadFlags
	}
	met, err := report(ctx, s, stdout, stderr)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "benchreport: %v\n", err)
		return exitNotMet
	case !met:
		return exitNotMet
	}
	return exitFine
}

func report(ctx context.Context, s settings, stdout, stderr io.Writer) (met bool, err error) {
	dir, err := os.MkdirTemp("", "benchreport")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	s.config.Progress = func(what string) { fmt.Fprintln(stderr, what) }
	if s.config.Programs, err = stack.Find(ctx, dir, s.config.Progress, nil, "enclave", "gateway"); err != nil {
		return false, err
	}
	r, err := benchreport.Run(ctx, s.config)
	if err != nil {
		return false, err
	}
	r.Command = fmt.Sprintf("go run ./benchreport -duration %v -callers %d", s.config.Duration, s.config.Callers)
	if err := r.Write(s.out); err != nil {
		return false, err
	}
	return r.Met(), r.Summary(stdout, s.out)
}
