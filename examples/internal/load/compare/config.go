package compare

import (
	"errors"
	"fmt"
	"time"

	"github.com/enclavepool/enclavepool/internal/target"
	"github.com/enclavepool/enclavepool/pool"
)

// Config is one comparison.
type Config struct {
	// Enclaves are the enclaves to load; caller i uses number i modulo their count. None: fake ones that
	// Run starts, each in a process of its own, and stops. The program has to call PlayEnclave for that.
	Enclaves []pool.Enclave
	// Rounds is how often each mode has its turn. 1 or more.
	Rounds int
	// Turn is how long a mode is measured in each round, WarmUp how long it runs before. Turn is above 0.
	Turn, WarmUp time.Duration
	// EchoCallers and SigningCallers are the numbers of callers at work at the same time, a table for
	// each: with enclaves that echo the digest, and with each algorithm of those that sign.
	EchoCallers, SigningCallers []int
	// Timeout is the deadline of each request. Above 0.
	Timeout time.Duration
	// Progress is told what is measured next. Nil: nobody is.
	Progress func(string)
}

// Limits that keep a slip of the keyboard from taking the machine down.
const (
	maxCallers = 10_000
	maxRounds  = 1000
)

// Full takes about four minutes: long enough for figures that repeat.
func Full() Config {
	return Config{
		Rounds: 3, Turn: 2 * time.Second, WarmUp: 200 * time.Millisecond, Timeout: 5 * time.Second,
		EchoCallers: []int{1, 64, 500}, SigningCallers: []int{64, 500},
	}
}

// Quick takes seconds: to see that all of it works.
func Quick() Config {
	return Config{
		Rounds: 1, Turn: 150 * time.Millisecond, WarmUp: 50 * time.Millisecond, Timeout: 5 * time.Second,
		EchoCallers: []int{1, 64}, SigningCallers: []int{64},
	}
}

// Validate returns everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	bad := func(ok bool, field string, value any, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %v is not valid: want %s", field, value, want))
		}
	}
	bad(c.Rounds >= 1 && c.Rounds <= maxRounds, "rounds", c.Rounds, fmt.Sprintf("1 to %d", maxRounds))
	bad(c.Turn > 0, "turn", c.Turn, "more than 0")
	bad(c.WarmUp >= 0, "warm-up", c.WarmUp, "0 or more")
	bad(c.Timeout > 0, "timeout", c.Timeout, "more than 0")
	for _, n := range append(append([]int(nil), c.EchoCallers...), c.SigningCallers...) {
		bad(n >= 1 && n <= maxCallers, "callers", n, fmt.Sprintf("1 to %d", maxCallers))
	}
	seen := map[string]bool{}
	for _, e := range c.Enclaves {
		bad(e.ID != "" && !seen[e.ID], "enclaves", fmt.Sprintf("%q", e.ID), "an ID, another one for each enclave")
		seen[e.ID] = true
		if _, err := target.Parse(e.Target); err != nil {
			errs = append(errs, fmt.Errorf("enclaves: %s: %w", e.ID, err))
		}
	}
	return errors.Join(errs...)
}
