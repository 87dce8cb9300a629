package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/enclavepool/enclavepool/examples/internal/command"
	"github.com/enclavepool/enclavepool/examples/internal/load"
	"github.com/enclavepool/enclavepool/examples/internal/load/compare"
)

func main() {
	if compare.PlayEnclave() {
		return
	}
	os.Exit(run(command.Context(), os.Args[1:], os.Stdout, os.Stderr, isTerminal(os.Stderr)))
}

// run does it all and returns the exit code. The report for people goes to stdout, or to stderr when
// the JSON report has stdout for itself; progress goes to stderr, on one line if inPlace.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, inPlace bool) int {
	if comparing(args) {
		return runComparison(ctx, args, stdout, stderr, inPlace)
	}
	s, err := parse(args, stdout)
	if err != nil {
		return command.Refused("loadgen", err, stderr)
	}
	report, err := drive(ctx, s, stdout, stderr, inPlace)
	if err != nil {
		fmt.Fprintf(stderr, "loadgen: %v\n", err)
		return command.Failed
	}
	if report.Signatures.Invalid > 0 || s.failOnError && report.Failed > 0 {
		return command.Failed
	}
	return command.Fine
}

func drive(ctx context.Context, s settings, stdout, stderr io.Writer, inPlace bool) (*load.Report, error) {
	people, machines, done, err := outputs(s.json, stdout, stderr)
	if err != nil {
		return nil, err
	}
	defer done()
	for range s.connections {
		cc, err := connect(s)
		if err != nil {
			return nil, err
		}
		defer cc.Close()
		s.load.Conns = append(s.load.Conns, cc)
	}
	s.load.Progress = func(i load.Interval) { progress(stderr, inPlace, i) }
	report, err := load.Run(ctx, s.load)
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

// connect returns a connection to the service that is made anew soon after it is lost, so that what
// a run shows of an outage is the service's part.
func connect(s settings) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+s.target.String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.target.Dial(ctx) }),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 250 * time.Millisecond},
			MinConnectTimeout: 2 * time.Second,
		}),
	)
}

// isTerminal reports whether somebody watches the file. A device that is none, such as /dev/null, does
// not mind the control characters.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
