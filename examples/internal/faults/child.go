package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/stall"
	"github.com/enclavepool/enclavepool/pool"
)

// ChildEnv is the environment variable that says what a child has to do. A program that finds it set calls Child.
const ChildEnv = "ENCLAVEPOOL_FAULTS_CHILD"

// errand is what a child has to do.
type errand struct {
	Targets map[string]string // of enclaves, by ID
	Rate    float64           // calls per second to each
}

// account is what a child has seen.
type account struct {
	// Ejected are the times at which it saw that a connection had been ejected.
	Ejected []time.Time
	// Dials counts attempts to connect, Calls and Failed calls; Kinds is what they failed with.
	Dials         uint64
	Calls, Failed int
	Kinds         string
	// Stalls counts the pauses that it noticed in its own running.
	Stalls int
}

// Child keeps a pool under load until it gets SIGTERM, and then prints its account. It says "ready" first.
func Child(stdout io.Writer) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	var e errand
	if err := json.Unmarshal([]byte(os.Getenv(ChildEnv)), &e); err != nil {
		return fmt.Errorf("%s: %w", ChildEnv, err)
	}
	cfg := config()
	for id, target := range e.Targets {
		cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: id, Target: target})
	}
	p, err := pool.New(cfg, pool.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	if err != nil {
		return err
	}
	defer closePool(p)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Ready(ctx); err != nil {
		return err
	}
	watch := stall.Start()
	defer watch.Stop()
	var loads []*load
	for id := range e.Targets {
		loads = append(loads, traffic{pool: p, rate: e.Rate, choose: to(id)}.start())
	}
	fmt.Fprintln(stdout, "ready")

	var a account
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for known := uint64(0); ; {
		for n := ejections(p); known < n; known++ {
			a.Ejected = append(a.Ejected, time.Now())
		}
		select {
		case <-look.C:
			continue
		case <-term:
		}
		break
	}
	var made calls
	for _, l := range loads {
		made = append(made, l.stop()...)
	}
	a.Calls, a.Failed, a.Stalls = len(made), len(made.failed()), len(watch.Stalls())
	a.Kinds, _ = made.kinds(nil)
	for _, s := range p.Stats().Enclaves {
		a.Dials += s.Dials
	}
	return json.NewEncoder(stdout).Encode(a)
}
