package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/stall"
)

// Config says what to run.
type Config struct {
	// Rows are the numbers of the rows to run. Empty: all.
	Rows []int
	// Transport is how the pool reaches the enclaves. Empty: unix sockets.
	Transport stack.Transport
	// Quick makes few and short repetitions, and holds behaviours only, no timings.
	Quick bool
	// Emulated says that this machine is emulated in software. Limits for timings are then those of a machine so many times
	// slower, as far as it is work that they limit, and not waiting: see Report.Slowness.
	Emulated bool
	// StepClock lets row 18 step the wall clock of this machine by an hour and back.
	StepClock bool
	// Outage is how long the outage of row 23 lasts. 0: 60s, in a quick run 5s.
	Outage time.Duration
	// Child is the environment with which this program, started anew, calls Child and nothing else.
	Child []string
	// Keep leaves the logs of pools and processes, and says where they are.
	Keep bool
	// Say is told of the progress, line by line.
	Say func(string)
}

// Report is what a run has shown.
type Report struct {
	Transport stack.Transport
	Quick     bool
	// Bears is how many calls per second the machine made with nothing else to do, Rate how many the rows ask for.
	Bears, Rate float64
	// Slowness is how many times fewer calls per second this machine bears than the one that the limits are for, where it
	// is emulated; else 0.
	Slowness float64
	Results  []*Result
	Machine  Machine
}

// Broken is whether a behaviour was not as it has to be.
func (r *Report) Broken() bool {
	return slices.ContainsFunc(r.Results, func(r *Result) bool { return len(r.Broken) > 0 })
}

// Validate returns what is wrong with the configuration.
func (c Config) Validate() error {
	_, err := choose(c.Rows)
	return err
}

// row is a fault, what the pool is held to when it happens, and the code that finds out.
type row struct {
	number int
	fault  string
	held   string
	how    string // it is measured
	run    func(context.Context, *rig, *Result) error
}

// rows are all rows, by number.
var rows = []row{row1, row2, row3, row4, row5, row6, row7, row8, row11, row12, row13, row14, row15, row16, row17, row18, row21, row22, row23, row24, row25}

// reference is how many calls per second the machine of docs/reliability.md bears, for which the limits are.
const reference = 24000

// Numbers are the numbers of all rows.
func Numbers() []int {
	out := make([]int, len(rows))
	for i, r := range rows {
		out[i] = r.number
	}
	return out
}

// Run runs the rows one after another. The error says that they could not be run; what they have shown until then is in
// the report all the same. Nothing runs any more when it returns.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.Transport == "" {
		cfg.Transport = stack.Unix
	}
	if cfg.Outage == 0 {
		cfg.Outage = time.Minute
		if cfg.Quick {
			cfg.Outage = 5 * time.Second
		}
	}
	rep := &Report{Transport: cfg.Transport, Quick: cfg.Quick, Machine: DescribeMachine()}
	chosen, err := choose(cfg.Rows)
	if err != nil {
		return rep, err
	}
	if cfg.Transport == stack.Vsock {
		if there, why, err := stack.Choose(ctx); err != nil || there != stack.Vsock {
			return rep, errors.Join(fmt.Errorf("transport vsock: %s", why), err)
		}
	}
	dir, err := os.MkdirTemp("", "faults")
	if err != nil {
		return rep, err
	}
	if cfg.Keep {
		defer cfg.Say("logs: " + dir)
	} else {
		defer os.RemoveAll(dir)
	}
	s := settings{transport: cfg.Transport, quick: cfg.Quick, outage: cfg.Outage, say: cfg.Say, child: cfg.Child, emulated: cfg.Emulated, stepsClock: cfg.StepClock}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		return rep, err
	}
	if s.programs, err = stack.Find(ctx, bin, cfg.Say, nil, "enclave"); err != nil {
		return rep, err
	}
	s.stalls = stall.Start()
	defer s.stalls.Stop()
	if err := with(dir, "c", s, func(r *rig) error {
		rep.Bears, err = calibrate(ctx, r)
		return err
	}); err != nil {
		return rep, fmt.Errorf("calibrating: %w", err)
	}
	if cfg.Emulated {
		rep.Slowness = max(1, reference/rep.Bears)
		s.slowness = rep.Slowness
	}
	s.rate = min(rep.Bears/5, 2000)
	rep.Rate = s.rate
	cfg.Say(fmt.Sprintf("this machine makes %.0f calls/s with nothing else to do; the rows ask for %.0f", rep.Bears, rep.Rate))
	for _, row := range chosen {
		cfg.Say(fmt.Sprintf("row %d: %s …", row.number, row.fault))
		res := &Result{Row: row.number, Fault: row.fault, Held: row.held, How: row.how, quick: cfg.Quick, slowness: s.slowness}
		began := time.Now()
		if err := with(dir, fmt.Sprint(row.number), s, func(r *rig) error { return row.run(ctx, r, res) }); err != nil {
			return rep, fmt.Errorf("row %d: %w", row.number, err)
		}
		res.Took = time.Since(began)
		if lost, longest := stall.Sum(s.stalls.Stalls(), began, time.Now()); lost > 0 && len(res.Measured) > 0 {
			res.say("this process got no processor for %s of the %s, %s at the longest", short(lost), short(res.Took), short(longest))
		}
		rep.Results = append(rep.Results, res)
		cfg.Say(fmt.Sprintf("row %d: %s (%s)", row.number, res.Verdict(), short(res.Took)))
	}
	return rep, nil
}

// with gives f a rig in a folder of its own, and closes it.
func with(dir, name string, s settings, f func(*rig) error) error {
	r := &rig{settings: s, dir: filepath.Join(dir, name)}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return err
	}
	defer r.close()
	return f(r)
}

func choose(numbers []int) ([]row, error) {
	if len(numbers) == 0 {
		return rows, nil
	}
	var out []row
	var errs []error
	for _, n := range numbers {
		i := slices.IndexFunc(rows, func(r row) bool { return r.number == n })
		if i < 0 {
			errs = append(errs, fmt.Errorf("rows: %d is not valid: want any of %v", n, Numbers()))
			continue
		}
		out = append(out, rows[i])
	}
	return out, errors.Join(errs...)
}

// calibrate returns how many calls per second this machine makes when callers call as fast as they can.
func calibrate(ctx context.Context, r *rig) (float64, error) {
	e, err := r.enclave(ctx, "a")
	if err != nil {
		return 0, err
	}
	p, err := r.pool(ctx, config(e))
	if err != nil {
		return 0, err
	}
	l := traffic{pool: p, rate: 1e9, choose: to("a")}.start()
	began := time.Now()
	err = sleep(ctx, r.lasting(time.Second, 300*time.Millisecond))
	made := l.stop()
	if err != nil {
		return 0, err
	}
	if failed := made.failed(); len(failed) > 0 {
		return 0, failed[0].err
	}
	return float64(len(made)) / time.Since(began).Seconds(), nil
}
