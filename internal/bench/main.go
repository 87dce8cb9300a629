package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
)

func main() {
	if runRole() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with its surroundings handed in. It returns the exit status: 1
// when something could not be measured. A goal that is not met is a result, not
// a failure.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "print JSON instead of the table")
	only := flags.String("only", "", "measure only the sections whose title matches this `regexp`")
	scale := flags.String("scale", "", "take the curve over 1 to 1000 enclaves instead, and write scale.md and scale.svg into this `folder`")
	procs := flags.Int("procs", 2, "GOMAXPROCS of this process and of the servers")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	chosen, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	runtime.GOMAXPROCS(*procs)

	if *scale != "" {
		return runScale(ctx, fullScale(), *scale, stderr)
	}
	report := Report{Machine: describeMachine()}
	fmt.Fprintln(stderr, report.Machine)
	status := 0
	for _, m := range measurements(fullPlan()) {
		if !chosen.MatchString(m.title) || ctx.Err() != nil {
			continue
		}
		fmt.Fprintf(stderr, "measuring: %s\n", m.title)
		section, err := m.measure(ctx)
		section.Title = m.title
		if err != nil {
			section.Error = err.Error()
			status = 1
		}
		report.Sections = append(report.Sections, section)
	}
	if ctx.Err() != nil {
		fmt.Fprintln(stderr, "bench: interrupted; the rest was not measured")
		status = 1
	}
	if *asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		err = report.WriteText(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return status
}
