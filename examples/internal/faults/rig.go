package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/stall"
	"github.com/enclavepool/enclavepool/pool"
)

const (
	// conns is how many connections there are to each enclave.
	conns = 32
	// patience bounds the wait for what has to come about sooner or later; it is a limit for broken things only.
	patience = 20 * time.Second
	// lookEvery is the pause between two looks at Pool.Stats.
	lookEvery = 250 * time.Microsecond
)

// rig is what a row works with. A row has one of its own, and all that it starts ends with it.
type rig struct {
	settings
	dir     string // of this row; its path is short
	cleanup []func()
}

// settings are the same for all rows.
type settings struct {
	programs   stack.Programs
	transport  stack.Transport
	quick      bool
	outage     time.Duration // of row 23
	rate       float64       // calls per second that this machine bears beside everything else
	say        func(string)
	child      []string // environment that makes this program the child of row 7
	stalls     *stall.Watch
	emulated   bool    // this machine is
	stepsClock bool    // row 18 may
	slowness   float64 // how much so; 0: it is none, or that is not known yet
}

// close ends what the row started.
func (r *rig) close() {
	for i := len(r.cleanup) - 1; i >= 0; i-- {
		r.cleanup[i]()
	}
	r.cleanup = nil
}

// times is the number of repetitions: full, or few in a quick run.
func (r *rig) times(full, few int) int {
	if r.quick {
		return few
	}
	return full
}

// slow is the first of two numbers, or the second on an emulated machine.
func (r *rig) slow(usual, emulated int) int {
	if r.emulated {
		return emulated
	}
	return usual
}

// lasting is a length: full, or brief in a quick run.
func (r *rig) lasting(full, brief time.Duration) time.Duration {
	if r.quick {
		return brief
	}
	return full
}

// enclave starts a fake enclave as a process of its own.
func (r *rig) enclave(ctx context.Context, id string, args ...string) (*stack.Enclave, error) {
	e := stack.NewEnclave(r.programs["enclave"], r.dir, id, r.transport, append([]string{"-log-level", "warn"}, args...)...)
	if err := e.Start(ctx); err != nil {
		return nil, err
	}
	r.cleanup = append(r.cleanup, func() { e.Kill() })
	return e, nil
}

// enclaves starts two: the row's victim, "a", and "b", to which nothing is done.
func (r *rig) enclaves(ctx context.Context, args ...string) (a, b *stack.Enclave, err error) {
	if a, err = r.enclave(ctx, "a", args...); err != nil {
		return nil, nil, err
	}
	b, err = r.enclave(ctx, "b", args...)
	return a, b, err
}

// config is a pool's configuration: the default one, with 32 connections to each enclave.
func config(enclaves ...*stack.Enclave) pool.Config {
	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns = conns, conns
	for _, e := range enclaves {
		cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: e.ID, Target: e.Target})
	}
	return cfg
}

// pool opens a pool and waits for its connections.
func (r *rig) pool(ctx context.Context, cfg pool.Config, opts ...pool.Option) (*pool.Pool, error) {
	p, err := r.open(cfg, opts...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return p, p.Ready(ctx)
}

// emulatedDialTimeout replaces the default of 150 ms on an emulated machine: 32 handshakes at once take longer there.
const emulatedDialTimeout = 500 * time.Millisecond

// dialTimeout is that of every pool here.
func (r *rig) dialTimeout() time.Duration {
	if r.emulated {
		return emulatedDialTimeout
	}
	return pool.DefaultConfig().DialTimeout
}

// open opens a pool.
func (r *rig) open(cfg pool.Config, opts ...pool.Option) (*pool.Pool, error) {
	cfg.DialTimeout = r.dialTimeout()
	log, err := os.OpenFile(filepath.Join(r.dir, "pool.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.NewTextHandler(log, nil))
	p, err := pool.New(cfg, append([]pool.Option{pool.WithLogger(logger)}, opts...)...)
	if err != nil {
		log.Close()
		return nil, err
	}
	r.cleanup = append(r.cleanup, func() {
		closePool(p)
		log.Close()
	})
	return p, nil
}

// closePool closes a pool whose calls do not matter any more.
func closePool(p *pool.Pool) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.Close(ctx) // it says how many calls it has cut
}

// await looks at an enclave's statistics until they are as they should be, and returns when it saw that.
func await(ctx context.Context, p *pool.Pool, id string, what string, so func(pool.EnclaveStats) bool) (time.Time, error) {
	deadline := time.Now().Add(patience)
	for {
		s := p.Stats().Enclaves[id]
		now := time.Now()
		switch {
		case so(s):
			return now, nil
		case now.After(deadline):
			return now, fmt.Errorf("%s: not %s within %v: %v, %d of %d connections healthy, cause: %w", id, what, patience,
				s.State, s.HealthyConns, s.MinConns, errors.Join(s.Cause))
		case ctx.Err() != nil:
			return now, ctx.Err()
		}
		time.Sleep(lookEvery)
	}
}

// awaitGone waits until no connection to an enclave is in rotation.
func awaitGone(ctx context.Context, p *pool.Pool, id string) (time.Time, error) {
	return await(ctx, p, id, "out of rotation", func(s pool.EnclaveStats) bool {
		return s.HealthyConns == 0 && s.State != breaker.Healthy
	})
}

// awaitFull waits until all connections to an enclave are in rotation.
func awaitFull(ctx context.Context, p *pool.Pool, id string) (time.Time, error) {
	return await(ctx, p, id, "complete", func(s pool.EnclaveStats) bool { return s.HealthyConns >= conns })
}

// rotation is which enclaves are in rotation, for callers that have a choice.
type rotation struct {
	pool *pool.Pool
	ids  []string
}

// first names the first enclave that is Healthy, or the last one.
func (r rotation) first() string {
	s := r.pool.Stats()
	for _, id := range r.ids {
		if s.Enclaves[id].State == breaker.Healthy {
			return id
		}
	}
	return r.ids[len(r.ids)-1]
}

// sleep waits, or returns the error of a context that ends before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
