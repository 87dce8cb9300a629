package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/alternatives"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

//go:embed head.md
var head string

// Exit codes.
const (
	exitFine     = 0
	exitFailed   = 1
	exitBadFlags = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once, and its children with it
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg := alternatives.Config{Transport: stack.Unix, Progress: func(what string) { fmt.Fprintln(stderr, what) }}
	fs := flag.NewFlagSet("alternatives", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.DurationVar(&cfg.Turn, "turn", 2*time.Second, "how long each way is loaded at a time")
	fs.IntVar(&cfg.Rounds, "rounds", 3, "how often all of it is done")
	out := fs.String("o", "", "file to write to, as Markdown; empty: stdout")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitFine
	case err != nil:
		return exitBadFlags
	case cfg.Turn < 100*time.Millisecond || cfg.Rounds < 1 || fs.NArg() > 0:
		fmt.Fprintf(stderr, "alternatives: -turn %v, -rounds %d, arguments %q: want 100ms or more, 1 or more, none\n", cfg.Turn, cfg.Rounds, fs.Args())
		return exitBadFlags
	}
	if err := compare(ctx, cfg, *out, stdout); err != nil {
		fmt.Fprintln(stderr, "alternatives:", err)
		return exitFailed
	}
	return exitFine
}

func compare(ctx context.Context, cfg alternatives.Config, out string, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "alternatives")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	programs, err := stack.Find(ctx, dir, cfg.Progress, nil, "enclave")
	if err != nil {
		return err
	}
	cfg.Enclave = programs["enclave"]
	r, err := alternatives.Run(ctx, cfg)
	if err != nil {
		return err
	}
	made := fmt.Sprintf("Made on %s in %v with `go run ./alternatives -turn %v -rounds %d`; %d CPUs, %s/%s, %s. Callers and enclave share the machine.\n",
		r.Started.UTC().Format("2006-01-02"), r.Elapsed.Round(time.Second), cfg.Turn, cfg.Rounds, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	text := r.Markdown(strings.TrimSpace(head) + "\n\n## What was measured\n\n" + made)
	if out == "" {
		_, err = io.WriteString(stdout, text)
		return err
	}
	return os.WriteFile(out, []byte(text), 0o644)
}
