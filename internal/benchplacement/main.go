package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/enclavepool/enclavepool/routing/etcddir/etcdtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// plan is how much is measured.
type plan struct {
	keys   int           // in the large directory
	cached int           // whose memory is measured
	length time.Duration // of each measurement of a rate
	moves  int           // that a watch has to carry
	folder string        // for files: the speed of creates is its disk's
	only   string
}

// row is a line of the table.
type row struct{ what, value, note string }

// bench is a run: what it has measured so far, and the folder for its files.
type bench struct {
	plan
	rows   []row
	stderr io.Writer
	etcds  []*etcdtest.Cluster
}

func (b *bench) add(what, note, format string, args ...any) {
	b.rows = append(b.rows, row{what, fmt.Sprintf(format, args...), note})
	fmt.Fprintf(b.stderr, "  %s: %s\n", what, fmt.Sprintf(format, args...))
}

// parts are what there is to measure.
var parts = []struct {
	name string
	do   func(*bench, context.Context) error
}{
	{"hit", (*bench).hits},
	{"bbolt", (*bench).bbolt},
	{"etcd", (*bench).etcd},
	{"memory", (*bench).memory},
	{"watch", (*bench).watch},
	{"large", (*bench).large},
}

// run returns the exit code: 1 when something could not be measured.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var p plan
	fs := flag.NewFlagSet("benchplacement", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&p.keys, "keys", 10_000_000, "keys in the large directory")
	fs.IntVar(&p.cached, "cached", 1_000_000, "keys in memory")
	fs.DurationVar(&p.length, "length", 2*time.Second, "length of each measurement of a rate")
	fs.IntVar(&p.moves, "moves", 200, "moves that the watches carry")
	fs.StringVar(&p.folder, "folder", "", "where files are made and removed again; empty: the system's temporary folder")
	fs.StringVar(&p.only, "only", "", "measure only these, separated by commas: hit, bbolt, etcd, memory, watch, large")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	dir, err := os.MkdirTemp(p.folder, "benchplacement-")
	if err != nil {
		fmt.Fprintln(stderr, "benchplacement:", err)
		return 1
	}
	p.folder = dir
	b := &bench{plan: p, stderr: stderr}
	for _, part := range parts {
		if p.only != "" && !strings.Contains(","+p.only+",", ","+part.name+",") {
			continue
		}
		fmt.Fprintln(stderr, part.name)
		if e := part.do(b, ctx); e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", part.name, e))
		}
		if ctx.Err() != nil {
			break
		}
	}
	for _, c := range b.etcds {
		err = errors.Join(err, c.Close())
	}
	b.table(stdout)
	err = errors.Join(err, os.RemoveAll(dir), ctx.Err())
	if err != nil {
		fmt.Fprintln(stderr, "benchplacement:", err)
		return 1
	}
	return 0
}

func (b *bench) table(out io.Writer) {
	fmt.Fprintf(out, "%s/%s, %s, GOMAXPROCS %d\n\n", runtime.GOOS, runtime.GOARCH, runtime.Version(), runtime.GOMAXPROCS(0))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, r := range b.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.what, r.value, r.note)
	}
	w.Flush()
}
