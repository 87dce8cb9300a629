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

	"github.com/enclavepool/enclavepool/examples/internal/faults"
	"github.com/enclavepool/enclavepool/examples/internal/hostile"
)

// Exit codes.
const (
	exitFine     = 0
	exitBroken   = 1
	exitBadFlags = 2
)

func main() {
	if os.Getenv(hostile.ChildEnv) != "" {
		if err := hostile.Child(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "hostile:", err)
			os.Exit(exitBroken)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once, and its children with it
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run does it all and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg := hostile.DefaultConfig()
	fs := flag.NewFlagSet("hostile", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Func("attacks", "names of the attacks to run, or of groups of them: early, late, streams; with commas between (default all)", func(text string) error {
		for name := range strings.SplitSeq(text, ",") {
			if group := hostile.Group(name); group != nil {
				cfg.Attacks = append(cfg.Attacks, group...)
			} else {
				cfg.Attacks = append(cfg.Attacks, name)
			}
		}
		return cfg.Validate()
	})
	fs.DurationVar(&cfg.Storm, "storm", cfg.Storm, "how long each attack lasts")
	fs.DurationVar(&cfg.HealthTimeout, "health-timeout", 0, "time that a health probe has; more on a machine that is busy (default: the pool's)")
	out := fs.String("o", "", "file to write the report to, as Markdown")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitFine
	case err != nil:
		return exitBadFlags
	}
	if err := cfg.Validate(); err != nil || fs.NArg() > 0 {
		fmt.Fprintln(stderr, "hostile:", errors.Join(err, extra(fs.Args())))
		return exitBadFlags
	}
	cfg.Say = func(line string) { fmt.Fprintln(stdout, line) }
	machine := faults.DescribeMachine().String()
	report, err := hostile.Run(ctx, cfg)
	if err == nil && *out != "" {
		var page strings.Builder
		report.Markdown(&page, strings.Join(append([]string{"go run ./hostile"}, args...), " "), machine)
		err = os.WriteFile(*out, []byte(page.String()), 0o644)
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "hostile:", err)
		return exitBroken
	case report.Broken():
		return exitBroken
	}
	return exitFine
}

func extra(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q", args[0])
}
