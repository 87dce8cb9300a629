package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// Mode is the way digests travel.
type Mode string

const (
	// Unary makes one Sign call per digest.
	Unary Mode = "unary"
	// Stream gives each caller one SignStream and exchanges messages on it. A stream that fails is
	// replaced before the next call; the exchange it failed in counts as failed.
	Stream Mode = "stream"
)

// Limits that keep a slip of the keyboard from taking the machine down.
const (
	maxCallers = 100_000
	maxKeys    = 100_000
)

// Config is one run.
type Config struct {
	// Conns are the connections, of which caller i uses number i modulo their count. At least one.
	Conns []grpc.ClientConnInterface
	// Mode is the way digests travel. Empty: Unary.
	Mode Mode
	// Callers is the number of callers at work at the same time. 1 to 100 000.
	Callers int
	// Duration is how long calls are begun; those in flight at its end are waited for. Above 0.
	Duration time.Duration
	// Rate is the number of calls begun per second, by all callers together, on a schedule (open
	// loop). A caller that is behind its schedule makes up for it as fast as it can. 0: each caller
	// begins a call when its last one has ended (closed loop).
	Rate float64
	// Keys is the number of keys to create and to spread the calls over. 1 to 100 000.
	Keys int
	// Algorithm is the keys' algorithm. Unspecified: the service's default.
	Algorithm signerv1.Algorithm
	// Timeout is the deadline of each call, from the moment it is sent. Above 0.
	Timeout time.Duration
	// VerifyEvery is the distance of the signatures that are verified: 1 verifies each of them, 100 one
	// in a hundred, 0 none. Verifying takes place beside the calls, but on the same cores.
	VerifyEvery int
	// SlowerThan is the latency from which the report counts a call that succeeded as Slower. 0: none is.
	SlowerThan time.Duration
	// Recreate has a caller whose key the service does not know, as after a restart that lost it, create it
	// again before its next call. Another key then has its name, so signatures cannot be verified:
	// VerifyEvery has to be 0.
	Recreate bool
	// CallContext, if set, prepares the context of each unary call, or of each stream, for the key it
	// is about; a router that reads its key from the context needs that. With it a caller in Stream
	// mode keeps to one key.
	CallContext func(ctx context.Context, keyID string) context.Context
	// SetupTimeout bounds creating the keys and opening the streams. 0: 10s.
	SetupTimeout time.Duration
	// Progress is called with each Interval that has passed, one call at a time. Nil: nobody is told.
	Progress func(Interval)
	// ProgressEvery is the length of an Interval, the last one up to twice as long. 0: 1s.
	ProgressEvery time.Duration
}

// Validate returns everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	bad := func(ok bool, field string, value any, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %v is not valid: want %s", field, value, want))
		}
	}
	bad(c.Mode == "" || c.Mode == Unary || c.Mode == Stream, "mode", c.Mode, `"unary" or "stream"`)
	bad(c.Callers >= 1 && c.Callers <= maxCallers, "callers", c.Callers, fmt.Sprintf("1 to %d", maxCallers))
	bad(c.Keys >= 1 && c.Keys <= maxKeys, "keys", c.Keys, fmt.Sprintf("1 to %d", maxKeys))
	bad(c.Duration > 0, "duration", c.Duration, "more than 0")
	bad(c.SlowerThan >= 0, "slower-than", c.SlowerThan, "0 or more")
	bad(c.Timeout > 0, "timeout", c.Timeout, "more than 0")
	bad(c.Rate >= 0 && !math.IsInf(c.Rate, 0), "rate", c.Rate, "0 for a closed loop, or calls per second") // NaN is not >= 0
	bad(c.VerifyEvery >= 0, "verify-every", c.VerifyEvery, "0 or more")
	bad(!c.Recreate || c.VerifyEvery == 0, "verify-every", c.VerifyEvery, "0 where keys are created again")
	bad(c.SetupTimeout >= 0, "setup-timeout", c.SetupTimeout, "0 or more")
	bad(c.ProgressEvery >= 0, "progress-every", c.ProgressEvery, "0 or more")
	return errors.Join(errs...)
}

func (c Config) withDefaults() (Config, error) {
	if err := c.Validate(); err != nil {
		return c, err
	}
	if len(c.Conns) == 0 {
		return c, errors.New("no connections")
	}
	if c.Mode == "" {
		c.Mode = Unary
	}
	if c.SetupTimeout == 0 {
		c.SetupTimeout = 10 * time.Second
	}
	if c.ProgressEvery == 0 {
		c.ProgressEvery = time.Second
	}
	return c, nil
}
