package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/command"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

// overhead is the time that building, starting and stopping may take beside the load.
const overhead = 2 * time.Minute

// stopTime is the time that the processes have to stop in order.
const stopTime = 5 * time.Second

func main() {
	os.Exit(run(command.Context(), os.Args[1:], newScreen(os.Stdout, isTerminal(os.Stdout), os.Getenv), os.Stdout, os.Stderr))
}

// settings are what the flags say.
type settings struct {
	duration time.Duration
	callers  int
	keep     bool
}

// parse reads the flags; help goes to stdout and is then the error flag.ErrHelp.
func parse(args []string, stdout io.Writer) (settings, error) {
	var s settings
	fs := command.New("demo", "usage: demo [flags]\n\n"+
		"Starts three fake enclaves and a gateway, signs through it, kills one enclave and brings it back; then does the\n"+
		"same with a second gateway, which routes keys differently.\n"+
		"Exits with 0 when all went as it should, 1 when it did not, 2 when the flags are wrong.\n\n")
	fs.DurationVar(&s.duration, "duration", 15*time.Second, "length of the load, 3s to 10m; the second act takes a third more")
	fs.IntVar(&s.callers, "callers", 12, "callers at work at the same time, 3 to 999")
	fs.BoolVar(&s.keep, "keep", false, "keep the processes' logs, and say where they are")
	if err := fs.Parse(args, stdout); err != nil {
		return s, err
	}
	fs.Check(s.duration >= 3*time.Second && s.duration <= 10*time.Minute, "duration", s.duration, "3s to 10m")
	fs.Check(s.callers >= len(enclaveIDs) && s.callers <= 999, "callers", s.callers, fmt.Sprintf("%d to 999", len(enclaveIDs)))
	return s, fs.Err()
}

// run does it all and returns the exit code.
func run(ctx context.Context, args []string, out *screen, stdout, stderr io.Writer) int {
	s, err := parse(args, stdout)
	if err != nil {
		return command.Refused("demo", err, stderr)
	}
	bounded, cancel := context.WithTimeout(ctx, s.duration+overhead)
	defer cancel()
	dir, err := os.MkdirTemp("", "enclavepool-demo-")
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return command.Failed
	}
	fine, err := show(bounded, s, dir, out)
	out.endStatus()
	code := command.Fine
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "demo: interrupted, everything is stopped")
		code = command.Interrupted
	case err != nil:
		fmt.Fprintln(stderr, "demo:", err)
		code = command.Failed
	case !fine:
		code = command.Failed
	}
	if s.keep || code == command.Failed {
		out.line("logs: " + dir)
		_ = os.RemoveAll(filepath.Join(dir, "bin")) // large, and made again in no time
	} else if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		code = command.Failed
	}
	return code
}

// show runs the demonstration in dir, prints it, and reports whether everything went as it should. Nothing runs any
// more when it returns.
func show(ctx context.Context, s settings, dir string, out *screen) (fine bool, err error) {
	transport, why, err := stack.Choose(ctx)
	if err != nil {
		return false, err
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		return false, err
	}
	programs, err := stack.Find(ctx, bin, out.line, nil, "enclave", "gateway")
	if err != nil {
		return false, err
	}
	out.line(fmt.Sprintf("starting %d enclaves and a gateway; between them %s:", len(enclaveIDs), transportName[transport]))
	out.line("  " + why)
	st, err := stack.Launch(ctx, stack.Config{Programs: programs, Dir: dir, Transport: transport, Enclaves: enclaveIDs,
		GatewayArgs: []string{"-routing", "strict"}})
	if err != nil {
		return false, err
	}
	defer st.Kill()
	out.line(fmt.Sprintf("ready: %d connections to each enclave; http://%s/metrics shows them", stack.Conns, st.Gateway.HTTP))
	out.line(fmt.Sprintf("load:  %d callers sign through the gateway; every signature is verified", s.callers))

	r, err := play(ctx, s, st, out)
	if err != nil {
		return false, err
	}
	r.Transport = transportName[transport]
	stopping, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	if err := st.Stop(stopping); err != nil {
		r.Problems = append(r.Problems, "stopping: "+err.Error())
	}
	out.endStatus()
	return summarize(out, r), nil
}

var transportName = map[stack.Transport]string{stack.Vsock: "real AF_VSOCK", stack.Unix: "unix sockets"}
