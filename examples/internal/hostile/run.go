package hostile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// Config says what to run.
type Config struct {
	// Attacks are the names of the attacks to run. Empty: all.
	Attacks []string
	// Together is how many hostile enclaves there are at a time. 0: one. More saves time, and mixes what is measured.
	Together int
	// Calm and Storm are how long the healthy enclave is called alone, and then beside the hostile ones; Long takes the
	// place of Storm where that is shorter and the hostile one is hard to find out.
	Calm, Storm, Long time.Duration
	// Room is how much later things may happen on a machine that is busy.
	Room time.Duration
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
	return Config{Calm: 1500 * time.Millisecond, Storm: 3 * time.Second, Long: 6 * time.Second, Room: 2 * time.Second, Conns: 16, Say: func(string) {}}
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

// pool is the configuration of the pool that is attacked.
func (c Config) pool() pool.Config {
	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns = c.Conns, c.Conns
	if c.HealthTimeout > 0 {
		cfg.Health.Timeout = c.HealthTimeout
		cfg.DialTimeout = max(cfg.DialTimeout, 2*c.HealthTimeout) // it includes a health check
	}
	return cfg
}

// Run runs the attacks one after another, or so many at a time. The error says that they could not be run. Nothing runs
// any more when it returns.
func Run(ctx context.Context, cfg Config) (rep *Report, err error) {
	rep = &Report{Config: cfg, Began: time.Now()}
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return rep, err
	}
	defer os.RemoveAll(dir)
	groups := cfg.groups()
	var names []string
	for _, a := range slices.Concat(groups...) {
		names = append(names, a.name)
	}
	good, err := spawn(ctx, dir, healthy)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, good.stop()) }()
	bad, err := spawn(ctx, dir, names...)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, bad.stop()) }()
	if cfg.Together <= 1 { // else nobody measures, and they would starve on a busy machine
		giveWay(bad.cmd.Process.Pid)
	}
	for _, together := range groups {
		results, err := cfg.attack(ctx, together, dir)
		if err != nil {
			return rep, fmt.Errorf("%s: %w", together[0].name, err)
		}
		for _, res := range results {
			rep.Results = append(rep.Results, res)
			cfg.Say(res.line())
		}
	}
	return rep, nil
}

// groups are the attacks to run, those together that run at the same time: all of a group take as long.
func (c Config) groups() [][]attack {
	names := c.Attacks
	if len(names) == 0 {
		names = Names()
	}
	if c.Together <= 1 {
		var out [][]attack
		for _, name := range names {
			a, _ := find(name) // Validate has found it
			out = append(out, []attack{a})
		}
		return out
	}
	var fast, slow []attack
	for _, name := range names {
		if a, _ := find(name); a.slow {
			slow = append(slow, a)
		} else {
			fast = append(fast, a)
		}
	}
	return append(slices.Collect(slices.Chunk(slow, c.Together)), slices.Collect(slices.Chunk(fast, c.Together))...)
}
