package alternatives

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/internal/target"
)

// Config is one comparison.
type Config struct {
	// Enclave is the path of the fake enclave; Transport how it is reached.
	Enclave   string
	Transport stack.Transport
	// Turn is how long each way is loaded, once with each number of callers; before a fault it
	// is loaded as long, and after it for four seconds more. 0: 2 s.
	Turn time.Duration
	// Rounds is how often all of it is done; the tables have the medians. 0: 3.
	Rounds int
	// SteadyOnly leaves the faults out.
	SteadyOnly bool
	// Callers are the numbers of callers of the steady load. Nil: 1, 64, 500.
	Callers []int
	// Progress is told what goes on. Nil: nobody is.
	Progress func(string)
}

// Report is one comparison.
type Report struct {
	Started time.Time
	Elapsed time.Duration
	Rounds  int
	Turn    time.Duration
	Ways    []string
	About   []string
	Steady  []Steady // by number of callers
	Faults  []Fault
}

// Steady are the ways under a steady load, in order.
type Steady struct {
	Callers int
	Rows    []Figures
}

// Fault are the ways under one fault, in order.
type Fault struct {
	Title, About string
	Callers      int
	Rows         []Figures
}

// Figures are medians over the rounds; failures are their sum.
type Figures struct {
	PerSecond float64
	P50, P99  time.Duration
	Longest   time.Duration // a call, whether it succeeded or failed
	Calls     int
	Failed    int
	Codes     map[string]int
	Wasted    time.Duration // by all callers together, in calls that failed
	Stall     time.Duration // the longest time without any success
	Recovery  time.Duration // from the fault's end; −1: not within the run
}

// after is how long a way is watched after a fault.
const after = 4 * time.Second

// Run compares. It takes eleven minutes with the defaults.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.Turn == 0 {
		cfg.Turn = 2 * time.Second
	}
	if cfg.Rounds == 0 {
		cfg.Rounds = 3
	}
	if cfg.Callers == nil {
		cfg.Callers = []int{1, 64, 500}
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	r := &Report{Started: time.Now(), Rounds: cfg.Rounds, Turn: cfg.Turn}
	all := ways()
	for _, w := range all {
		r.Ways, r.About = append(r.Ways, w.name), append(r.About, w.about)
	}
	for _, n := range cfg.Callers {
		cfg.Progress(fmt.Sprintf("steady, %d callers …", n))
		rows, err := cfg.each(ctx, func(w way) (Figures, error) {
			return cfg.load(ctx, w, nil, n, func(*stack.Enclave) error { return pause(ctx, cfg.Turn) }, 0)
		})
		if err != nil {
			return nil, err
		}
		r.Steady = append(r.Steady, Steady{n, rows})
	}
	inflicted := faults()
	if cfg.SteadyOnly {
		inflicted = nil
	}
	for _, f := range inflicted {
		cfg.Progress(f.title + " …")
		rows, err := cfg.each(ctx, func(w way) (Figures, error) {
			return cfg.load(ctx, w, f.args, f.callers, func(e *stack.Enclave) error { return f.inflict(ctx, e) }, after)
		})
		if err != nil {
			return nil, err
		}
		r.Faults = append(r.Faults, Fault{f.title, f.about, f.callers, rows})
	}
	r.Elapsed = time.Since(r.Started)
	return r, nil
}

// each measures every way, round by round, so that a change of the machine's speed meets all.
func (cfg Config) each(ctx context.Context, measure func(way) (Figures, error)) ([]Figures, error) {
	all := ways()
	rounds := make([][]Figures, len(all))
	for range cfg.Rounds {
		for i, w := range all {
			f, err := measure(w)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			rounds[i] = append(rounds[i], f)
		}
	}
	var rows []Figures
	for i := range all {
		rows = append(rows, medians(rounds[i]))
	}
	return rows, ctx.Err()
}

// load has callers call through w, an enclave of its own behind it, while during goes on, and
// until the time after that.
func (cfg Config) load(ctx context.Context, w way, args []string, callers int, during func(*stack.Enclave) error, after time.Duration) (Figures, error) {
	dir, err := os.MkdirTemp("", "alt")
	if err != nil {
		return Figures{}, err
	}
	defer os.RemoveAll(dir)
	// An echo in place of a signature: what is compared is the way there.
	e := stack.NewEnclave(cfg.Enclave, dir, "a", cfg.Transport, append([]string{"-sign", "echo"}, args...)...)
	starting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := e.Start(starting); err != nil {
		return Figures{}, err
	}
	defer func() { e.Kill() }()
	if err := createKey(starting, e); err != nil {
		return Figures{}, err
	}
	to, err := target.Parse(e.Target)
	if err != nil {
		return Figures{}, err
	}
	open, err := w.open(ctx, to)
	if err != nil {
		return Figures{}, err
	}
	defer open.close()

	c := startCrowd(ctx, open, callers)
	err = pause(ctx, cfg.Turn)
	begin := time.Since(c.began)
	if err == nil {
		err = during(e)
	}
	over := time.Since(c.began)
	if err == nil {
		err = pause(ctx, after)
	}
	end := time.Since(c.began)
	all, codes := c.stop()
	if err != nil {
		return Figures{}, err
	}
	return figures(all, codes, begin, over, end), nil
}

// figures looks at what began between begin and end; over is when the fault was.
func figures(all []outcome, codes map[string]int, begin, over, end time.Duration) Figures {
	f := Figures{Codes: codes, Stall: stall(all, begin, end), Recovery: recovery(all, begin, over, end)}
	var looked []outcome
	for _, o := range all {
		if o.began < begin || o.began > end {
			continue
		}
		looked = append(looked, o)
		f.Calls++
		f.Longest = max(f.Longest, o.took)
		if o.failed {
			f.Failed++
			f.Wasted += o.took
		}
	}
	f.P50, f.P99 = quantile(looked, 0.5), quantile(looked, 0.99)
	f.PerSecond = float64(f.Calls-f.Failed) / (end - begin).Seconds()
	return f
}

// createKey makes the key, over a connection of its own.
func createKey(ctx context.Context, e *stack.Enclave) error {
	to, err := target.Parse(e.Target)
	if err != nil {
		return err
	}
	cc, err := grpc.NewClient("passthrough:///"+to.String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return to.Dial(ctx) }))
	if err != nil {
		return err
	}
	defer cc.Close()
	_, err = signerv1.NewSignerServiceClient(cc).Create(ctx, &signerv1.CreateRequest{KeyId: keyID}, grpc.WaitForReady(true))
	return err
}
