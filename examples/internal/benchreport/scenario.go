package benchreport

import (
	"context"
	"fmt"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/load"
)

// Names of the scenarios.
const (
	steady    = "steady"
	openLoop  = "open-loop"
	restart   = "restart"
	slowCalls = "slow-calls"
	exhausted = "exhausted"
)

// scenario is one run of processes under load.
type scenario struct {
	name, title, about string

	duration    time.Duration
	conns       int // per enclave; 0: the default
	gatewayEnv  []string
	enclaveArgs []string
	load        load.Config // without Conns, Duration and Progress

	// disturb is called once, halfway through; nil: nobody disturbs.
	disturb func(ctx context.Context, s *stack.Stack) error
	judge   func(*Result) []Criterion
}

// Times and sizes of the scenarios.
const (
	callTimeout  = 5 * time.Second
	outage       = 500 * time.Millisecond
	slowDelay    = 200 * time.Millisecond
	slowShare    = 0.01
	tightStreams = 8
	tightDelay   = 20 * time.Millisecond
	tightWait    = 50 * time.Millisecond
)

// scenarios returns what cfg asks for. rate is what an open loop begins per second.
func scenarios(cfg Config, rate float64) []scenario {
	side := cfg.side()
	base := load.Config{Mode: load.Stream, Callers: cfg.Callers, Keys: 64, Timeout: callTimeout, VerifyEvery: 1000}
	open := base
	open.Rate = rate
	// A caller has one call at a time: what is left of its schedule after a slow one has to be
	// enough for the next to begin in time, or the load itself would be the queue.
	gentle := open
	gentle.Rate = min(rate, float64(cfg.Callers)*0.8/slowDelay.Seconds())
	slow, again := gentle, gentle
	slow.SlowerThan = slowDelay / 2
	again.Recreate, again.VerifyEvery = true, 0 // the enclave's keys go with it
	return []scenario{
		{
			name: steady, title: "Steady load", duration: cfg.Duration, load: base, judge: judgeSteady,
			about: fmt.Sprintf("%d callers, each with a SignStream to the gateway, sign one 32-byte digest after another (closed loop).", cfg.Callers),
		},
		{
			name: openLoop, title: "At a fixed rate", duration: side, load: open, judge: judgeOpen,
			about: fmt.Sprintf("%.0f calls are begun per second, half of what the steady load reached, whether or not earlier ones "+
				"have ended (open loop). Latency counts from the intended start, so a stall counts for every call that it holds up.", rate),
		},
		{
			name: restart, title: "An enclave restarts", duration: side, load: again, judge: judgeRestart,
			about: fmt.Sprintf("%.0f calls are begun per second. Halfway, enclave a is killed (kill -9) and started again %v later, "+
				"without the keys it had; a caller who is told so creates its key again.", gentle.Rate, outage),
			disturb: func(ctx context.Context, s *stack.Stack) error {
				s.Enclaves[0].Kill()
				if !sleep(ctx, outage) {
					return ctx.Err()
				}
				return s.Enclaves[0].Start(ctx)
			},
		},
		{
			name: slowCalls, title: "1 % slow calls", duration: side, load: slow, judge: judgeSlow,
			about: fmt.Sprintf("The same. Of the calls, %.0f %% take %v longer in the enclave. If they held up others, far more than that share would be slow.",
				100*slowShare, slowDelay),
			enclaveArgs: []string{"-delay", slowDelay.String(), "-delay-fraction", fmt.Sprint(slowShare)},
		},
		{
			name: exhausted, title: "Exhausted on purpose", duration: side, load: base, judge: judgeExhausted,
			about: fmt.Sprintf("One connection of %d streams per enclave, calls that take %v, %d callers in a closed loop, AcquireTimeout %v.",
				tightStreams, tightDelay, cfg.Callers, tightWait),
			conns:       1,
			gatewayEnv:  []string{fmt.Sprint("SIGN_CONN_POOL_MAX_CONCURRENT_STREAMS=", tightStreams), fmt.Sprint("SIGN_CONN_POOL_ACQUIRE_TIMEOUT=", tightWait)},
			enclaveArgs: []string{"-delay", tightDelay.String()},
		},
	}
}

// side is how long each scenario beside the steady load takes.
func (cfg Config) side() time.Duration {
	return max(min(10*time.Second, cfg.Duration), min(time.Minute, cfg.Duration/6))
}

// sleep waits for d; false: ctx has ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
