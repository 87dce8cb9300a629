package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/fleet"
	"github.com/enclavepool/enclavepool/routing/etcddir/etcdtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once, and its children with it
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// overhead is the time that building, starting and checking may take beside the course of events.
const overhead = 5 * time.Minute

// run returns the exit code: 0 when every promise was kept, 1 when one was not or it could not be played, 2 when the flags
// are wrong.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("demofleet", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	step := fs.Duration("step", 7*time.Second, "time between two events, 1s to 1m; there are eight")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return 0
	case err == nil && (*step < time.Second || *step > time.Minute || fs.NArg() > 0):
		err = fmt.Errorf("-step: %v is not valid: want 1s to 1m, and no arguments", *step)
		fallthrough
	case err != nil:
		fmt.Fprintln(stderr, "demofleet:", err)
		return 2
	}
	ctx, cancel := context.WithTimeout(ctx, 10**step+overhead)
	defer cancel()
	dir, err := os.MkdirTemp("", "fleet-")
	if err != nil {
		fmt.Fprintln(stderr, "demofleet:", err)
		return 1
	}
	if err := show(ctx, dir, *step, stdout); err != nil {
		fmt.Fprintf(stderr, "\nNOT AS PROMISED\n%v\nlogs: %s\n", err, dir)
		_ = os.RemoveAll(filepath.Join(dir, "bin")) // large, and made again in no time
		return 1
	}
	fmt.Fprintln(stdout, "every promise was kept")
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(stderr, "demofleet:", err)
		return 1
	}
	return 0
}

// show starts what is needed and plays. Nothing runs any more when it returns.
func show(ctx context.Context, dir string, step time.Duration, out io.Writer) error {
	say := func(text string) { fmt.Fprintln(out, text) }
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		return err
	}
	programs, err := stack.Find(ctx, bin, say, nil, "enclave", "gateway")
	if err != nil {
		return err
	}
	say("looking for an etcd server, or building it from its module, which takes a minute the first time …")
	if _, err := etcdtest.Binary(); err != nil {
		return fmt.Errorf("an etcd server is missing: install Debian's etcd-server (apt-get install etcd-server) and set ENCLAVEPOOL_ETCD=etcd, "+
			"or let it be built, which takes Go, its module proxy, and the sources of this repository: %w", err)
	}
	f, err := fleet.Launch(ctx, fleet.Config{Programs: programs, Dir: dir, Enclaves: 4, Gateways: 2, Members: 3})
	if err != nil {
		return err
	}
	say("running: an etcd of 3 members; gateways g1 and g2, which share it; enclaves a, b, c, d")
	p := newPlay(f, step, programs["gateway"], out)
	return errors.Join(p.run(ctx), f.Kill())
}
