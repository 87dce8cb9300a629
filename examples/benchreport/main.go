package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/benchreport"
	"github.com/enclavepool/enclavepool/examples/internal/command"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

func main() {
	os.Exit(run(command.Context(), os.Args[1:], os.Stdout, os.Stderr))
}

// settings are what the flags say.
type settings struct {
	config benchreport.Config
	out    string
}

// parse reads the flags; help goes to stdout and is then the error flag.ErrHelp.
func parse(args []string, stdout io.Writer) (settings, error) {
	var s settings
	fs := command.New("benchreport", "usage: benchreport [flags]\n\n"+
		"Exits with 0 when every criterion is met, 1 when one is not, 2 when the flags are wrong.\n\n")
	fs.DurationVar(&s.config.Duration, "duration", time.Minute, "length of the steady load; the others take a sixth of it, from 10s to 1m")
	fs.IntVar(&s.config.Callers, "callers", 500, "callers at work at the same time")
	only := fs.String("only", "", "scenarios to run beside the steady load, with commas between (default all)")
	transport := fs.String("transport", string(stack.Unix), `"unix" sockets, or "vsock": AF_VSOCK within this machine`)
	fs.StringVar(&s.out, "o", "report", "folder to write report.md, its plots and data.json to")
	if err := fs.Parse(args, stdout); err != nil {
		return s, err
	}
	if *only != "" {
		s.config.Only = strings.Split(*only, ",")
	}
	s.config.Transport = stack.Transport(*transport)
	fs.Check(s.config.Transport.Known(), "transport", *transport, "unix or vsock")
	fs.Add(s.config.Validate())
	return s, fs.Err()
}

// run does it all and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stdout)
	if err != nil {
		return command.Refused("benchreport", err, stderr)
	}
	met, err := report(ctx, s, stdout, stderr)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "benchreport: %v\n", err)
		return command.Failed
	case !met:
		return command.Failed
	}
	return command.Fine
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
