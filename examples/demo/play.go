package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/load"
)

var enclaveIDs = []string{"enclave-a", "enclave-b", "enclave-c"}

// victim is the enclave that is killed.
const victim = "enclave-b"

// The course of the load, as shares of its length. It begins as hard as the callers can, to find out what this machine
// manages; then come three phases at a part of that, in the second of which the victim is killed and brought back.
const (
	warmUp    = 0.08
	before    = 0.27
	untilKill = 0.03 // from the beginning of the second phase; a slow machine may take longer
	away      = 0.14 // from the kill to the restart
	back      = 0.26 // from when it listens to the end of the second phase
	after     = 0.22
)

// part is the part of what the machine manages that it is then asked for. A machine at its limit would show how long
// its cores keep calls waiting, and a dead enclave would make the others faster.
const part = 1.0 / 3

// callTimeout is the deadline of each call, far beyond what a call takes here.
const callTimeout = 2 * time.Second

// progressEvery is how often the load reports.
const progressEvery = 250 * time.Millisecond

// player plays the demonstration.
type player struct {
	s     settings
	st    *stack.Stack
	out   *screen
	board *board
	names map[string][]string         // of keys, by enclave
	conns map[string]*grpc.ClientConn // to the gateway, by the enclave whose keys are used on it
	start time.Time
	rate  float64 // calls per second and enclave; 0: as many as the callers manage
	r     *result
	final atomic.Uint64 // failed calls without the word that a retry may help
}

// play puts load on the enclaves through the gateway, kills one and brings it back, and returns what it saw. The error
// says that it could not be played to the end.
func play(ctx context.Context, s settings, st *stack.Stack, out *screen) (*result, error) {
	accepted := make(map[string]uint64)
	for _, e := range st.Enclaves {
		stats, err := e.Stats(ctx)
		if err != nil {
			return nil, err
		}
		accepted[e.ID] = stats.ConnectionsAccepted
	}
	names, err := place(ctx, st.Gateway, enclaveIDs)
	if err != nil {
		return nil, err
	}
	p := &player{s: s, st: st, out: out, board: newBoard(out), names: names, conns: make(map[string]*grpc.ClientConn),
		r: &result{Callers: s.callers, Enclaves: enclaveIDs, Victim: victim, Wanted: stack.Conns, Opened: make(map[string]uint64)}}
	for _, id := range enclaveIDs {
		cc, err := st.Gateway.Dial()
		if err != nil {
			return nil, err
		}
		defer cc.Close()
		p.conns[id] = cc
	}
	p.start = time.Now()
	stop := p.sample(ctx)
	err = p.phases(ctx)
	p.r.Elapsed, p.r.Final = time.Since(p.start), p.final.Load()
	stop()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	for _, e := range st.Enclaves {
		stats, err := e.Stats(ctx)
		if err != nil {
			return nil, err
		}
		if e.ID == victim {
			p.r.Reopened = stats.ConnectionsAccepted
			p.r.Opened[e.ID] -= accepted[e.ID] // what it had accepted when it was killed, less what it had at the start
		} else {
			p.r.Opened[e.ID] = stats.ConnectionsAccepted - accepted[e.ID]
		}
	}
	p.r.Spill, err = p.spill(ctx)
	return p.r, err
}

// share is a share of the load's length.
func (p *player) share(of float64) time.Duration {
	return time.Duration(of * float64(p.s.duration))
}

func (p *player) phases(ctx context.Context) (err error) {
	steady := func(share float64) func(string) (*load.Report, error) {
		return func(id string) (*load.Report, error) { return p.load(ctx, id, p.share(share), nil) }
	}
	p.board.phase("warm-up")
	if p.r.WarmUp, err = p.everywhere(steady(warmUp)); err != nil {
		return err
	}
	for _, l := range p.r.WarmUp {
		p.r.Manages += l.Throughput
	}
	p.rate = p.r.Manages * part / float64(len(enclaveIDs))
	p.say("this machine manages %.0f calls/s; from now on a third of that", p.r.Manages)
	p.board.phase("before")
	if p.r.Before, err = p.everywhere(steady(before)); err != nil {
		return err
	}
	p.board.phase("during")
	over, endFault := context.WithCancel(ctx)
	defer endFault()
	if p.r.During, err = p.everywhere(func(id string) (*load.Report, error) {
		if id == victim {
			defer endFault() // the others go on until the fault is over
			return p.fault(ctx)
		}
		return p.load(over, id, endless, nil)
	}); err != nil {
		return err
	}
	p.board.phase("after")
	if p.r.After, err = p.everywhere(steady(after)); err != nil {
		return err
	}
	end, err := servedSoFar(ctx, p.st.Gateway)
	p.r.Strict.After = end.minus(p.r.Strict.Before).minus(p.r.Strict.Outage)
	return err
}

// everywhere calls f for each enclave at the same time.
func (p *player) everywhere(f func(id string) (*load.Report, error)) (map[string]*load.Report, error) {
	reports := make([]*load.Report, len(enclaveIDs))
	errs := make([]error, len(enclaveIDs))
	var wg sync.WaitGroup
	for i, id := range enclaveIDs {
		wg.Go(func() { reports[i], errs[i] = f(id) })
	}
	wg.Wait()
	byID := make(map[string]*load.Report)
	for i, id := range enclaveIDs {
		if errs[i] != nil {
			errs[i] = fmt.Errorf("%s: %w", id, errs[i])
		}
		byID[id] = reports[i]
	}
	return byID, errors.Join(errs...)
}

// endless is the length of a load that is ended by its context.
const endless = time.Hour

// load signs with keys of one enclave for some time, or until ctx ends. started, if it is not nil, is called once there
// were calls.
func (p *player) load(ctx context.Context, id string, length time.Duration, started func()) (*load.Report, error) {
	callers := p.s.callers / len(enclaveIDs)
	for i := range p.s.callers % len(enclaveIDs) {
		if enclaveIDs[i] == id {
			callers++
		}
	}
	conn := newAimed(p.conns[id], p.names[id][:keysEach])
	report, err := load.Run(ctx, load.Config{
		Conns:   []grpc.ClientConnInterface{conn},
		Callers: callers, Rate: p.rate, Keys: keysEach, Duration: length, Timeout: callTimeout, VerifyEvery: 1,
		ProgressEvery: progressEvery, Progress: func(i load.Interval) {
			p.board.interval(id, i)
			if started != nil && i.Succeeded > 0 {
				started()
			}
		},
	})
	p.final.Add(conn.final.Load())
	return report, err
}
