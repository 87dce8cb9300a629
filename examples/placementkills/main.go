package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/fleet"
	"github.com/enclavepool/enclavepool/routing/etcddir/etcdtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// scenario is a row of the table.
type scenario struct {
	name              string
	victim            fleet.Victim
	gateways, members int
}

var scenarios = []scenario{
	{"gateway, bbolt file", fleet.TheGateway, 1, 0},
	{"one of 2 gateways, etcd", fleet.TheGateway, 2, 1},
	{"the only etcd member", fleet.TheDirectory, 2, 1},
	{"one of 3 etcd members", fleet.TheDirectory, 2, 3},
	{"either, 2 gateways, 3 members", fleet.Either, 2, 3},
}

type settings struct {
	creates, kills, rounds, callers int
}

func parse(args []string, stdout io.Writer) (settings, error) {
	var s settings
	fs := flag.NewFlagSet("placementkills", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.IntVar(&s.creates, "creates", 10_000, "keys made in each round")
	fs.IntVar(&s.kills, "kills", 20, "kills in each round")
	fs.IntVar(&s.rounds, "rounds", 3, "rounds of each scenario")
	fs.IntVar(&s.callers, "callers", 32, "callers that make keys")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fs.SetOutput(stdout)
		fs.PrintDefaults()
	}
	if err == nil && (s.creates < 1 || s.kills < 1 || s.rounds < 1 || s.callers < 1 || fs.NArg() > 0) {
		err = errors.New("all flags are numbers of at least 1, and there are no arguments")
	}
	return s, err
}

// run returns the exit code: 0 when every promise was kept, 1 when one was not or it could not be found out, 2 when the
// flags are wrong.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "placementkills:", err)
		return 2
	}
	dir, err := os.MkdirTemp("", "kills-")
	if err != nil {
		fmt.Fprintln(stderr, "placementkills:", err)
		return 1
	}
	err = all(ctx, s, dir, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "placementkills: %v\nlogs: %s\n", err, dir)
		return 1
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(stderr, "placementkills:", err)
		return 1
	}
	return 0
}

func all(ctx context.Context, s settings, dir string, out io.Writer) error {
	say := func(text string) { fmt.Fprintln(out, text) }
	programs, err := stack.Find(ctx, dir, say, nil, "enclave", "gateway")
	if err != nil {
		return err
	}
	say("looking for an etcd, or building it …")
	if _, err := etcdtest.Binary(); err != nil {
		return fmt.Errorf("an etcd server is needed: Debian's etcd-server with ENCLAVEPOOL_ETCD=etcd, or Go and its module proxy: %w", err)
	}
	rows := make([][]fleet.Killed, len(scenarios))
	var broken []error
	for i, sc := range scenarios {
		for round := range s.rounds {
			r, err := one(ctx, s, sc, dir, programs, i, round)
			verdict := "all found, all sign"
			if err != nil {
				verdict = "BROKEN: " + err.Error()
				broken = append(broken, fmt.Errorf("%s, round %d: %w", sc.name, round+1, err))
			}
			say(fmt.Sprintf("%-30s round %d: %3d kills, %d creates, %5d repeated, %5.1f s: %s", sc.name, round+1, r.Kills,
				r.Acknowledged, r.Repeated, r.Took.Seconds(), verdict))
			if ctx.Err() != nil {
				return ctx.Err()
			}
			rows[i] = append(rows[i], r)
		}
	}
	say("")
	table(out, rows)
	return errors.Join(broken...)
}

// one is a round of a scenario, with processes and data of its own.
func one(ctx context.Context, s settings, sc scenario, dir string, programs stack.Programs, i, round int) (fleet.Killed, error) {
	folder := fmt.Sprintf("%s/%d-%d", dir, i, round)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return fleet.Killed{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	f, err := fleet.Launch(ctx, fleet.Config{Programs: programs, Dir: folder, Enclaves: 4, Gateways: sc.gateways, Members: sc.members})
	if err != nil {
		return fleet.Killed{}, err
	}
	r, err := f.Disturb(ctx, fleet.Kills{Victim: sc.victim, Kills: s.kills, Creates: s.creates, Callers: s.callers}, "key-")
	return r, errors.Join(err, f.Kill())
}

func table(out io.Writer, rows [][]fleet.Killed) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "killed\tkills\tcreates acknowledged\tcalls repeated\tkeys in the enclaves\tseconds")
	for i, row := range rows {
		var sum fleet.Killed
		for _, r := range row {
			sum.Kills += r.Kills
			sum.Acknowledged += r.Acknowledged
			sum.Repeated += r.Repeated
			sum.Keys += r.Keys
			sum.Took += r.Took
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.0f\n", scenarios[i].name, sum.Kills, sum.Acknowledged, sum.Repeated, sum.Keys, sum.Took.Seconds())
	}
	w.Flush()
}
