package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/command"
	"github.com/enclavepool/enclavepool/examples/internal/load/compare"
	"github.com/enclavepool/enclavepool/pool/envconfig"
)

// comparing tells whether the arguments ask for a comparison, which has flags of its own.
func comparing(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return a == "-compare" || a == "--compare" })
}

// comparison is what the flags of -compare say.
type comparison struct {
	json string
	compare.Config
}

// parseComparison reads the flags beside -compare, as parse does the others.
func parseComparison(args []string, stdout io.Writer) (comparison, error) {
	s := comparison{Config: compare.Full()}
	if slices.ContainsFunc(args, func(a string) bool { return a == "-quick" || a == "--quick" }) {
		s.Config = compare.Quick() // the defaults of the other flags
	}
	f := command.New("loadgen -compare", comparisonHelp)
	var enclaves string
	f.Bool("compare", true, "compare ways of reaching enclaves")
	f.Bool("quick", false, "take seconds instead of minutes: to see that all of it works")
	f.StringVar(&enclaves, "enclaves", "", "enclaves to load, such as a=vsock:16:5000,b=unix:/run/b.sock; empty: fake ones, started and stopped")
	f.StringVar(&s.json, "json", "", `file for the report as JSON, "-" for stdout; empty: none`)
	command.Value(f, &s.Rounds, "rounds", "turns of each mode", "a whole number from 1", strconv.Atoi)
	command.Value(f, &s.Turn, "turn", "how long a mode is measured in each round", "a duration such as 2s", time.ParseDuration)
	command.Value(f, &s.EchoCallers, "echo-callers", "callers at work at the same time, a table for each number, on enclaves that echo the digest", "whole numbers from 1", numbers)
	command.Value(f, &s.SigningCallers, "signing-callers", "the same on enclaves that sign, for each algorithm", "whole numbers from 1", numbers)
	command.Value(f, &s.Timeout, "timeout", "deadline of each request", "a duration such as 1s", time.ParseDuration)

	if err := f.Parse(args, stdout); err != nil {
		return s, err
	}
	if enclaves != "" {
		var err error
		if s.Enclaves, err = envconfig.ParseEnclaves(enclaves); err != nil {
			f.Add(fmt.Errorf("-enclaves: %w", err))
		}
	}
	f.Add(s.Validate())
	return s, f.Err()
}

// numbers reads whole numbers with commas between them.
func numbers(list string) (all []int, err error) {
	for part := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// runComparison is run for -compare.
func runComparison(ctx context.Context, args []string, stdout, stderr io.Writer, inPlace bool) int {
	s, err := parseComparison(args, stdout)
	if err != nil {
		return command.Refused("loadgen", err, stderr)
	}
	report, err := compareModes(ctx, s, stdout, stderr, inPlace)
	if err != nil {
		fmt.Fprintf(stderr, "loadgen: %v\n", err)
		return command.Failed
	}
	if report.Wrong() > 0 || report.Errors() > 0 {
		return command.Failed
	}
	return command.Fine
}

func compareModes(ctx context.Context, s comparison, stdout, stderr io.Writer, inPlace bool) (*compare.Report, error) {
	people, machines, done, err := outputs(s.json, stdout, stderr)
	if err != nil {
		return nil, err
	}
	defer done()
	s.Progress = func(what string) { progress(stderr, inPlace, what) }
	report, err := compare.Run(ctx, s.Config)
	if inPlace {
		fmt.Fprint(stderr, clearLine)
	}
	if err != nil {
		return nil, err
	}
	if err := report.WriteText(people); err != nil {
		return nil, err
	}
	return report, writeJSON(machines, report)
}

const clearLine = "\r\x1b[K"

// progress shows where a run is, on one line if inPlace.
func progress(w io.Writer, inPlace bool, what any) {
	if inPlace {
		fmt.Fprint(w, clearLine, what)
	} else {
		fmt.Fprintln(w, what)
	}
}

// outputs returns where the reports go: the one for people to stdout, or to stderr when the JSON report
// has stdout for itself.
func outputs(file string, stdout, stderr io.Writer) (people, machines io.Writer, done func(), err error) {
	switch file {
	case "":
		return stdout, io.Discard, func() {}, nil
	case "-":
		return stderr, stdout, func() {}, nil
	}
	f, err := os.Create(file) // now, lest a long run ends without a place for its report
	return stdout, f, func() { f.Close() }, err
}

func writeJSON(w io.Writer, report any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(report); err != nil {
		return fmt.Errorf("writing the JSON report: %w", err)
	}
	return nil
}

const comparisonHelp = `usage: loadgen -compare [flags]

Signs in five ways side by side, in turns, directly at the enclaves: with a connection for each request
(dial), on one shared connection (shared), on 16 in turn (roundrobin16), through the pool call by call
(pool-unary) and over its warm streams (pool-streams). Exits with 0 when every answer was the right one,
1 when one was not, a request failed or an enclave could not be reached, and 2 when the flags are wrong.

`
