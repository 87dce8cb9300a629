package hostile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// Config says what to run.
type Config struct {
	// Attacks are the names of the attacks to run. Empty: all.
	Attacks []string
	// Calm and Storm are how long the healthy enclave is called alone, and then beside the hostile one; Long takes the
	// place of Storm where that is shorter and the hostile one is hard to find out.
	Calm, Storm, Long time.Duration
	// Conns is how many connections each enclave has.
	Conns int
	// HealthTimeout is how long a health probe may take. 0: the pool's default. More is for machines that are busy, where
	// the healthy enclave may get no processor for as long as that.
	HealthTimeout time.Duration
	// Say is told of the progress, line by line.
	Say func(string)
}

// DefaultConfig is what the report is made with.
func DefaultConfig() Config {
	return Config{Calm: 2 * time.Second, Storm: 4 * time.Second, Long: 7 * time.Second, Conns: 16, Say: func(string) {}}
}

// Validate returns what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	for _, name := range c.Attacks {
		_, err := find(name)
		errs = append(errs, err)
	}
	if c.Calm <= 0 || c.Storm <= 0 || c.Storm > time.Minute || c.Calm > time.Minute {
		errs = append(errs, fmt.Errorf("times of %v and %v are not valid: want more than 0, at most a minute", c.Calm, c.Storm))
	}
	return errors.Join(errs...)
}

// Run runs the attacks one after another. The error says that they could not be run. Nothing runs any more when it
// returns.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	rep := &Report{Config: cfg, Began: time.Now()}
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	names := cfg.Attacks
	if len(names) == 0 {
		names = Names()
	}
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return rep, err
	}
	defer os.RemoveAll(dir)
	for i, name := range names {
		a, _ := find(name) // Validate has found it
		res, err := cfg.one(ctx, a, filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return rep, fmt.Errorf("%s: %w", name, err)
		}
		rep.Results = append(rep.Results, res)
		cfg.Say(res.line())
	}
	return rep, nil
}

// The IDs of the two enclaves.
const (
	good = "good"
	evil = "evil"
)

// one runs one attack in a folder of its own.
func (c Config) one(ctx context.Context, a attack, dir string) (res *Result, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	for _, name := range []string{healthy, a.name} {
		p, err := spawn(ctx, name, filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, p.stop()) }()
	}
	res = &Result{Name: a.name, Does: a.does, Held: a.held}
	before := footprintNow()
	lines := &lineCounter{}
	grpcLines, _, _ := grpcLog.of("")
	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns = c.Conns, c.Conns
	if c.HealthTimeout > 0 {
		cfg.Health.Timeout = c.HealthTimeout
	}
	cfg.Enclaves = []pool.Enclave{{ID: good, Target: "unix:" + filepath.Join(dir, healthy)}}
	p, err := pool.New(cfg, pool.WithLogger(lines.logger()))
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := p.Ready(within); err != nil {
		return nil, errors.Join(err, p.Close(within))
	}
	calm := callGood(p)
	sleep(ctx, c.Calm)
	res.Alone = calm.stop()

	heap := watchHeap()
	looks := watch(p)
	calls := callGood(p)
	cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: evil, Target: "unix:" + filepath.Join(dir, a.name)})
	if err := p.Update(cfg); err != nil {
		return nil, err
	}
	began := time.Now()
	victims := callEvil(p)
	sleep(ctx, c.storm(a))
	res.Lasted = time.Since(began)
	res.Beside = calls.stop()
	res.Evil = victims.stop()
	res.Looks = looks.stop()
	res.Stats = p.Stats().Enclaves[evil]
	res.HeapGrowth = heap.stop()
	closing := time.Now()
	closed, cancelClose := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancelClose()
	res.CloseErr = p.Close(closed)
	res.CloseTook = time.Since(closing)
	res.Lines, res.LongestLine, res.Forged = lines.of(evil)
	res.GRPCLines, _, _ = grpcLog.of("")
	res.GRPCLines -= grpcLines
	res.Left = left(before)
	res.judge(a, c.Conns)
	return res, nil
}

func (c Config) storm(a attack) time.Duration {
	if a.slow {
		return max(c.Storm, c.Long)
	}
	return c.Storm
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// footprint is what must not grow.
type footprint struct{ goroutines, files int }

func footprintNow() footprint {
	f := footprint{goroutines: runtime.NumGoroutine()}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil { // Linux's; elsewhere none are counted
		f.files = len(entries)
	}
	return f
}

// left says what is there that was not before, once that had time to go.
func left(before footprint) string {
	var now footprint
	for range 100 {
		if now = footprintNow(); now.goroutines <= before.goroutines && now.files <= before.files {
			return ""
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Sprintf("%d goroutines (%d before), %d files (%d before)", now.goroutines, before.goroutines, now.files, before.files)
}

// quantile is the nearest-rank quantile of durations.
func quantile(samples []time.Duration, q float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
