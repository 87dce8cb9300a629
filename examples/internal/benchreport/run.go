package benchreport

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/load"
)

// Config is one report.
type Config struct {
	// Duration is that of the steady load. The other scenarios take a sixth of it, but from ten
	// seconds (or Duration, if that is shorter) to a minute. At least one second.
	Duration time.Duration
	// Callers are at work at the same time. At least one.
	Callers int
	// Programs has "enclave" and "gateway"; Transport is how the gateway reaches the enclaves.
	Programs  stack.Programs
	Transport stack.Transport
	// Only names the scenarios to run, beside the steady load. Empty: all.
	Only []string
	// Progress is told what goes on. Nil: nobody is.
	Progress func(string)
}

// enclaves are the fakes that the gateway has.
var enclaves = []string{"a", "b"}

// connections to the gateway, which the callers share.
const connections = 10

// warmUp is how long the load runs before it is looked at, or Duration if that is shorter. What
// grows and opens at first is over then.
const warmUp = 2 * time.Second

// Result is one scenario.
type Result struct {
	Name     string       `json:"name"`
	Title    string       `json:"title"`
	About    string       `json:"about"`
	Load     *load.Report `json:"load"`
	Samples  []Sample     `json:"samples"`
	Acquire  Buckets      `json:"-"` // of the load alone
	Events   []Event      `json:"events"`
	Accepted uint64       `json:"connections_accepted"` // by the enclaves, during the load
	Disturb  *Disturbance `json:"disturbance,omitempty"`
	Criteria []Criterion  `json:"criteria"`
}

// Disturbance is what was done halfway.
type Disturbance struct {
	Began time.Duration `json:"began_ns"` // since the load's start
	// Listening is when the enclave accepted connections again.
	Listening time.Duration `json:"listening_ns"`
}

// Run runs the scenarios one after another, in processes of their own.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Report{Started: time.Now(), Callers: cfg.Callers, Duration: cfg.Duration, Transport: string(cfg.Transport), Machine: machine()}
	rate := 0.0
	for i := 0; ; i++ {
		all := scenarios(cfg, rate)
		if i == len(all) {
			break
		}
		if !cfg.wants(all[i].name) {
			continue
		}
		cfg.say(fmt.Sprintf("%s, %v …", all[i].title, all[i].duration))
		res, err := cfg.run(ctx, all[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", all[i].name, err)
		}
		if all[i].name == steady {
			rate = res.Load.Throughput / 2
		}
		r.Results = append(r.Results, res)
	}
	cfg.say("cold start, and a dial for each request …")
	var err error
	if r.Starts, err = cfg.coldStarts(ctx); err != nil {
		return nil, fmt.Errorf("cold start: %w", err)
	}
	r.Elapsed = time.Since(r.Started)
	return r, nil
}

// Validate returns everything that is wrong with the configuration.
func (cfg Config) Validate() error {
	var errs []error
	if cfg.Duration < time.Second {
		errs = append(errs, fmt.Errorf("duration: %v is not valid: want 1s or more", cfg.Duration))
	}
	if cfg.Callers < 1 || cfg.Callers > 10_000 {
		errs = append(errs, fmt.Errorf("callers: %d is not valid: want 1 to 10000", cfg.Callers))
	}
	known := map[string]bool{}
	for _, s := range scenarios(cfg, 0) {
		known[s.name] = true
	}
	for _, name := range cfg.Only {
		if !known[name] {
			errs = append(errs, fmt.Errorf("only: %q is not valid: want %s, %s, %s or %s", name, openLoop, restart, slowCalls, exhausted))
		}
	}
	return errors.Join(errs...)
}

func (cfg Config) wants(name string) bool {
	if name == steady || len(cfg.Only) == 0 {
		return true
	}
	for _, o := range cfg.Only {
		if o == name {
			return true
		}
	}
	return false
}

func (cfg Config) say(what string) {
	if cfg.Progress != nil {
		cfg.Progress(what)
	}
}

// run runs one scenario.
func (cfg Config) run(ctx context.Context, sc scenario) (res *Result, err error) {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	starting, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s, err := stack.Launch(starting, stack.Config{
		Programs: cfg.Programs, Dir: dir, Transport: cfg.Transport, Enclaves: enclaves,
		Conns: sc.conns, EnclaveArgs: sc.enclaveArgs, GatewayEnv: sc.gatewayEnv,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		err = errors.Join(err, s.Stop(stopping))
	}()
	conns, closeAll, err := dialGateway(s.Gateway)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	sc.load.Conns = conns

	warm := sc.load
	warm.Duration = min(warmUp, cfg.Duration)
	if _, err := load.Run(ctx, warm); err != nil {
		return nil, fmt.Errorf("warm-up: %w", err)
	}
	res = &Result{Name: sc.name, Title: sc.title, About: sc.about}
	return res, cfg.observe(ctx, sc, s, res)
}

// observe runs the load that counts, and watches it.
func (cfg Config) observe(ctx context.Context, sc scenario, s *stack.Stack, res *Result) error {
	accepted, err := acceptedBy(ctx, s)
	if err != nil {
		return err
	}
	o := newObserver(s)
	o.sample(ctx)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var (
		wg        sync.WaitGroup
		disturbed error
	)
	every := max(100*time.Millisecond, sc.duration/900)
	wg.Go(func() { o.watch(watching, every) })
	if sc.disturb != nil {
		res.Disturb = &Disturbance{}
		wg.Go(func() {
			if !sleep(watching, sc.duration/2) {
				return
			}
			res.Disturb.Began = time.Since(o.began)
			if disturbed = sc.disturb(watching, s); disturbed == nil {
				o.is(s.Enclaves[0])
			}
		})
	}
	sc.load.Duration = sc.duration
	sc.load.ProgressEvery = every
	sc.load.Progress = func(i load.Interval) {
		if i.End%(5*time.Second) < every {
			cfg.say("  " + i.String())
		}
	}
	res.Load, err = load.Run(ctx, sc.load)
	stop()
	wg.Wait()
	if err := errors.Join(err, disturbed, ctx.Err()); err != nil {
		return err
	}
	o.sample(ctx)
	if len(o.samples) < 2 {
		return fmt.Errorf("the gateway's /metrics did not answer: %w", o.err)
	}
	shift := res.Load.Started.Sub(o.began) // setting up streams and keys takes a moment
	for i := range o.samples {
		o.samples[i].At -= shift
	}
	res.Samples = o.samples
	first, last := o.samples[0], o.samples[len(o.samples)-1]
	res.Acquire = last.acquire.minus(first.acquire)
	if res.Events, err = events(s.Gateway.Log(), res.Load.Started); err != nil {
		return fmt.Errorf("the gateway's log: %w", err)
	}
	res.Events = since(res.Events, -shift)
	if res.Disturb != nil {
		res.Disturb.Began -= shift
		stats, err := s.Enclaves[0].Stats(ctx)
		if err != nil {
			return err
		}
		res.Disturb.Listening = stats.ServingSince.Sub(res.Load.Started)
	}
	after, err := acceptedBy(ctx, s)
	if err != nil {
		return err
	}
	if after >= accepted {
		res.Accepted = after - accepted // an enclave that was restarted counts anew
	}
	res.Criteria = sc.judge(res)
	return nil
}

func acceptedBy(ctx context.Context, s *stack.Stack) (n uint64, err error) {
	for _, e := range s.Enclaves {
		stats, err := e.Stats(ctx)
		if err != nil {
			return 0, err
		}
		n += stats.ConnectionsAccepted
	}
	return n, nil
}

func dialGateway(g *stack.Gateway) (conns []grpc.ClientConnInterface, closeAll func(), err error) {
	var open []*grpc.ClientConn
	closeAll = func() {
		for _, c := range open {
			c.Close()
		}
	}
	for range connections {
		c, err := g.Dial()
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		open = append(open, c)
		conns = append(conns, c)
	}
	return conns, closeAll, nil
}
