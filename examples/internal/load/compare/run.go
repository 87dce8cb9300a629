package compare

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/internal/target"
)

// The ways to sign, each with tables of its own: what signing costs hides what reaching the enclave does.
const (
	Echo      = "echo"
	Ed25519   = "ed25519"
	Secp256k1 = "secp256k1"
)

// setUpWithin bounds making the keys and the first signatures of a table.
const setUpWithin = 30 * time.Second

// Run measures all modes and returns the report. It returns an error, and no report, when the
// configuration is not valid, something could not be set up, or ctx ended; requests that fail are counted.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	r := &Report{
		Started: time.Now(), Go: runtime.Version(), CPUs: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		Rounds: cfg.Rounds, Turn: cfg.Turn, Timeout: cfg.Timeout, OwnProcesses: len(cfg.Enclaves) == 0,
	}
	if err := r.measure(ctx, cfg); err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	r.Elapsed = time.Since(r.Started)
	return r, nil
}

// measure fills in the tables.
func (r *Report) measure(ctx context.Context, cfg Config) error {
	if len(cfg.Enclaves) > 0 {
		var places []place
		for _, e := range cfg.Enclaves {
			parsed, err := target.Parse(e.Target)
			if err != nil {
				return err
			}
			places = append(places, place{id: e.ID, target: e.Target, parsed: parsed})
		}
		setUp, cancel := context.WithTimeout(ctx, setUpWithin)
		defer cancel()
		_, echo, err := prepare(setUp, places, signerv1.Algorithm_ALGORITHM_ED25519, len(places))
		if err != nil {
			return err
		}
		if echo {
			return r.tables(ctx, cfg, places, cfg.EchoCallers, Echo)
		}
		return r.tables(ctx, cfg, places, cfg.SigningCallers, Ed25519, Secp256k1)
	}
	if err := r.onFake(ctx, cfg, enclave.SignEcho, cfg.EchoCallers, Echo); err != nil {
		return err
	}
	return r.onFake(ctx, cfg, enclave.SignReal, cfg.SigningCallers, Ed25519, Secp256k1)
}

// onFake measures on an enclave of our own.
func (r *Report) onFake(ctx context.Context, cfg Config, sign enclave.SignMode, callers []int, signing ...string) error {
	p, err := startEnclave(ctx, sign)
	if err != nil {
		return err
	}
	defer p.stop()
	parsed, err := target.Parse(p.target)
	if err != nil {
		return err
	}
	return r.tables(ctx, cfg, []place{{id: "fake", target: p.target, parsed: parsed, process: p}}, callers, signing...)
}

func (r *Report) tables(ctx context.Context, cfg Config, places []place, callers []int, signing ...string) error {
	for _, s := range signing {
		for _, n := range callers {
			t, err := measureTable(ctx, cfg, places, s, n)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", s, crowdText(n), err)
			}
			r.Tables = append(r.Tables, t)
		}
	}
	return nil
}

// measureTable opens all modes and gives them their turns, each round beginning with another one.
func measureTable(ctx context.Context, cfg Config, places []place, signing string, callers int) (Table, error) {
	out := Table{Signing: signing, Callers: callers}
	alg := signerv1.Algorithm_ALGORITHM_ED25519
	if signing == Secp256k1 {
		alg = signerv1.Algorithm_ALGORITHM_ECDSA_SECP256K1
	}
	setUp, cancel := context.WithTimeout(ctx, setUpWithin)
	defer cancel()
	tasks, echo, err := prepare(setUp, places, alg, callers)
	if err != nil {
		return out, err
	}
	if echo != (signing == Echo) {
		return out, errMixed
	}
	modes, err := openModes(setUp, places, callers, cfg.Timeout)
	if err != nil {
		return out, err
	}
	defer closeModes(modes)
	c := newCrowd(tasks, cfg.Timeout)
	for _, m := range modes {
		c.work(ctx, m, 2*cfg.WarmUp) // opens the streams, and grows the memory
	}
	turns := make([][]turn, len(modes))
	for round := range cfg.Rounds {
		for i := range modes {
			i = (i + round) % len(modes)
			cfg.Progress(fmt.Sprintf("%s, %s, round %d of %d: %s", signing, crowdText(callers), round+1, cfg.Rounds, modes[i].name))
			t, err := c.turn(ctx, modes[i], places, cfg.WarmUp, cfg.Turn)
			if err != nil {
				return out, err
			}
			turns[i] = append(turns[i], t)
		}
	}
	shared := slices.IndexFunc(modes, func(m mode) bool { return m.name == Shared })
	for i, m := range modes {
		out.Rows = append(out.Rows, row(m.name, turns[i], turns[shared]))
	}
	if callers > dialMost {
		out.Notes = append(out.Notes, fmt.Sprintf("%s is measured with at most %d callers: with more, the queue at the listener and the processors decide, and requests fail", Dial, dialMost))
	}
	return out, nil
}
