package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// holding is what the role "gateway" is told.
type holding struct {
	Path     string // of the enclaves' sockets
	Enclaves int
	Conns    int // of each enclave
	Interval time.Duration
	Idle     time.Duration // how long the idle pool is looked at
	Acquires int
	Limit    time.Duration // of the whole process
}

// held is what a process with so many enclaves has measured of itself.
type held struct {
	Ready, ReadyCPU time.Duration
	Healthy         int    // connections at the end of the idle time
	Dials           uint64 // more than the connections: attempts were repeated
	Ejections       uint64
	InUseKiB        float64 // heap in use and stacks, per connection
	LiveKiB         float64 // live objects, per connection
	RSSKiB          float64 // resident, per connection; 0: unknown
	Goroutines      float64 // per connection
	IdleCPU         float64 // seconds per second
	AcquireOne      float64 // ns: always the same enclave
	AcquireAll      float64 // ns: one enclave after another
	Close, CloseCPU time.Duration
}

// phases that the role "gateway" announces, each on a line of its own, so that
// whoever started it can ask the enclaves what they have used until then.
const (
	phaseBegin = "begin"
	phaseReady = "ready"
	phaseIdle  = "idle"
	phaseOver  = "over"
)

// holdMany is the role "gateway JSON": it opens a pool, leaves it alone, takes
// slots and closes it. What it has measured is the last line that it prints. It
// ends with its standard input, or when its time is up, whatever it is at.
func holdMany(words []string) error {
	if len(words) != 1 {
		return errors.New("want one word of JSON")
	}
	var h holding
	if err := json.Unmarshal([]byte(words[0]), &h); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.Limit)
	defer cancel()
	time.AfterFunc(h.Limit+time.Second, func() {
		fmt.Fprintf(os.Stderr, "bench: as gateway: not over after %v\n", h.Limit)
		os.Exit(1)
	})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // however it ends, nobody listens any more
		os.Exit(1)
	}()
	result, err := h.measure(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func (h holding) measure(ctx context.Context) (r held, err error) {
	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns = h.Conns, h.Conns
	cfg.Health.Interval = h.Interval
	for i := range h.Enclaves {
		cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: fmt.Sprintf("enclave-%d", i), Target: "unix:" + socketOf(h.Path, i)})
	}
	n := float64(h.Enclaves * h.Conns)
	before, goroutines, resident := memory(), runtime.NumGoroutine(), residentKiB()

	began := h.phase(phaseBegin)
	p, err := pool.New(cfg, pool.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return r, err
	}
	defer func() {
		closing := h.phase("")
		err = errors.Join(err, p.Close(ctx))
		r.Close, r.CloseCPU = closing.since()
	}()
	if err := p.Ready(ctx); err != nil {
		return r, fmt.Errorf("not ready: %d of %.0f connections: %w", count(p).Healthy, n, ctx.Err())
	}
	r.Ready, r.ReadyCPU = began.since()
	h.phase(phaseReady)

	// What the start has left behind goes, and idle probes begin.
	if err := pause(ctx, time.Second); err != nil {
		return r, err
	}
	idle := h.phase(phaseIdle)
	if err := pause(ctx, h.Idle); err != nil {
		return r, err
	}
	took, used := idle.since()
	h.phase(phaseOver)
	r.IdleCPU = used.Seconds() / took.Seconds()
	after := count(p)
	r.Healthy, r.Dials, r.Ejections = after.Healthy, after.Dials, after.Ejections

	// A reading needs garbage collections, which take both processors from probes
	// that are under way, and counts what those hold. So there are none meanwhile.
	cfg.Health.Interval = time.Hour
	if err := p.Update(cfg); err != nil {
		return r, err
	}
	if err := pause(ctx, time.Second); err != nil {
		return r, err
	}
	m := memory()
	r.InUseKiB = (float64(m.HeapInuse+m.StackInuse) - float64(before.HeapInuse+before.StackInuse)) / n / 1024
	r.LiveKiB = (float64(m.HeapAlloc) - float64(before.HeapAlloc)) / n / 1024
	r.Goroutines = float64(runtime.NumGoroutine()-goroutines) / n
	if resident > 0 {
		r.RSSKiB = (residentKiB() - resident) / n
	}
	one, all := cfg.Enclaves[:1], cfg.Enclaves
	if r.AcquireOne, err = acquiring(ctx, p, one).timed(h.Acquires); err != nil {
		return r, err
	}
	r.AcquireAll, err = acquiring(ctx, p, all).timed(h.Acquires)
	return r, err
}

func acquiring(ctx context.Context, p *pool.Pool, enclaves []pool.Enclave) loop {
	return func(n int) error {
		for i := range n {
			l, err := p.Acquire(ctx, enclaves[i%len(enclaves)].ID)
			if err != nil {
				return err
			}
			l.Release()
		}
		return ctx.Err()
	}
}

// count sums up what the enclaves say.
func count(p *pool.Pool) (r held) {
	for _, e := range p.Stats().Enclaves {
		r.Healthy += e.HealthyConns
		r.Dials += e.Dials
		r.Ejections += e.Ejections
	}
	return r
}

// pause waits for d, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// instant is a moment on the clock, and of this process's CPU time.
type instant struct {
	at  time.Time
	cpu time.Duration
}

func (i instant) since() (took, used time.Duration) { return time.Since(i.at), cpuTime() - i.cpu }

// phase announces that a phase begins; without a name it only looks at the clocks.
func (holding) phase(name string) instant {
	if name != "" {
		fmt.Println(name)
	}
	return instant{time.Now(), cpuTime()}
}
