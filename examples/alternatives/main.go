package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/alternatives"
	"github.com/enclavepool/enclavepool/examples/internal/command"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

//go:embed head.md
var head string

func main() {
	os.Exit(run(command.Context(), os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg := alternatives.Config{Transport: stack.Unix, Progress: func(what string) { fmt.Fprintln(stderr, what) }}
	fs := command.New("alternatives", "usage: alternatives [flags]\n\n"+
		"Puts other ways to reach an enclave beside the pool, steady and under faults. Exits with 0 when all of it was run, 1 when\n"+
		"something could not be, 2 when the flags are wrong.\n\n")
	fs.DurationVar(&cfg.Turn, "turn", 2*time.Second, "how long each way is loaded at a time")
	fs.IntVar(&cfg.Rounds, "rounds", 3, "how often all of it is done")
	out := fs.String("o", "", "file to write to, as Markdown; empty: stdout")
	err := fs.Parse(args, stdout)
	if err == nil {
		fs.Check(cfg.Turn >= 100*time.Millisecond, "turn", cfg.Turn, "100ms or more")
		fs.Check(cfg.Rounds >= 1, "rounds", cfg.Rounds, "1 or more")
		err = fs.Err()
	}
	if err != nil {
		return command.Refused("alternatives", err, stderr)
	}
	if err := compare(ctx, cfg, *out, stdout); err != nil {
		fmt.Fprintln(stderr, "alternatives:", err)
		return command.Failed
	}
	return command.Fine
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
