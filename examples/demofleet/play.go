package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/fleet"
)

// The load is a part of what two cores manage: the fleet has to have time for what is shown.
const (
	signers, signPause     = 4, 2 * time.Millisecond // for each gateway
	creators, createsPause = 4, 20 * time.Millisecond
)

// drained is the enclave that drains, victim the gateway that is killed.
const (
	drained = "b"
	victim  = 0
)

type play struct {
	f       *fleet.Fleet
	step    time.Duration
	program string // the gateway
	out     io.Writer
	began   time.Time
	created *fleet.Creating
	signed  *fleet.Signing

	mu   sync.Mutex // of what the board shows
	now  string
	etcd int
}

func newPlay(f *fleet.Fleet, step time.Duration, program string, out io.Writer) *play {
	c := f.NewCreating("key-")
	return &play{f: f, step: step, program: program, out: out, created: c, signed: f.NewSigning(c), etcd: 3}
}

// run plays it all and returns what was not as promised.
func (p *play) run(ctx context.Context) error {
	p.began = time.Now()
	load, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() { p.created.Run(load, 0, creators, createsPause) })
	working.Go(func() { p.signed.Run(load, signers, signPause) })
	working.Go(func() { p.board(load) })
	err := p.events(ctx)
	stop()
	working.Wait()
	if err != nil {
		return errors.Join(err, ctx.Err())
	}
	return p.judge(ctx)
}

// event announces what happens, does it, and lets the load go on for a step.
func (p *play) event(ctx context.Context, what string, do func() error) error {
	p.mu.Lock()
	p.now = what
	p.mu.Unlock()
	fmt.Fprintf(p.out, "%6.1fs  ── %s\n", time.Since(p.began).Seconds(), what)
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	select {
	case <-time.After(p.step):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// events are the course of it.
func (p *play) events(ctx context.Context) error {
	gateway := p.f.Gateways[victim]
	var leader int
	for _, e := range []struct {
		what string
		do   func() error
	}{
		{"load on both gateways: making keys, signing with all of them", func() error { return nil }},
		{"enclave e joins: new keys go there too, and no old one", func() error { _, err := p.f.Join(ctx); return err }},
		{"enclave b drains: its keys are refused with a time to wait, and go nowhere else", func() error { return p.f.Operate(ctx, drained, "drain") }},
		{"enclave b resumes", func() error { return p.f.Operate(ctx, drained, "resume") }},
		{"gateway g1 is killed: g2 has every key", func() error { gateway.Kill(); return nil }},
		{"gateway g1 is back: it reads every place from etcd", func() error { return errors.Join(gateway.Start(ctx), gateway.Ready(ctx)) }},
		{"the leader of the etcd is killed: keys that are known sign, new ones wait for another leader", func() (err error) {
			if leader, err = p.f.Etcd.Leader(ctx); err != nil {
				return err
			}
			p.members(2)
			return p.f.Etcd.Kill(leader)
		}},
		{"that etcd member is back", func() error {
			p.members(3)
			return errors.Join(p.f.Etcd.Restart(leader), p.f.Etcd.Ready(ctx))
		}},
	} {
		if err := p.event(ctx, e.what, e.do); err != nil {
			return err
		}
	}
	return nil
}

func (p *play) members(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.etcd = n
}

// boardEvery is how often the board shows the load.
const boardEvery = 2 * time.Second

// board prints a line about the load now and then.
func (p *play) board(ctx context.Context) {
	tick := time.NewTicker(boardEvery)
	defer tick.Stop()
	last := make([]fleet.Signed, len(p.f.Gateways))
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		line := fmt.Sprintf("%6.1fs ", time.Since(p.began).Seconds())
		for i, g := range p.f.Gateways {
			now := p.signed.Of(i)
			d := now.Minus(last[i])
			last[i] = now
			line += fmt.Sprintf("  %s %5.0f signs/s, %4d refused, %4d draining", g.Name, float64(d.OK)/boardEvery.Seconds(), d.Refused, d.Draining)
		}
		p.mu.Lock()
		line += fmt.Sprintf("   %5d keys   etcd %d/3", p.created.Acknowledged.Load(), p.etcd)
		p.mu.Unlock()
		fmt.Fprintln(p.out, line)
	}
}

// judge checks every promise, now that all is back.
func (p *play) judge(ctx context.Context) error {
	keys := p.created.Keys()
	fmt.Fprintf(p.out, "%6.1fs  ── the load has ended; every key signs through each gateway, and is asked for again …\n", time.Since(p.began).Seconds())
	var broken []error
	for _, errs := range [][]error{p.created.Broken(), p.signed.Broken()} {
		broken = append(broken, errs[:min(3, len(errs))]...)
	}
	if err := p.f.Verify(ctx, keys); err != nil {
		broken = append(broken, err)
	}
	there, err := p.f.Keys(ctx)
	// A call that was cut at the end may have made a key that nobody was told of.
	if err == nil && (there < len(keys) || there > len(keys)+creators) {
		err = fmt.Errorf("%d keys were acknowledged, and the enclaves have %d", len(keys), there)
	}
	broken = append(broken, err)
	said, err := p.reconcile(ctx)
	broken = append(broken, err)
	var sum fleet.Signed
	var drains int64
	for i := range p.f.Gateways {
		s := p.signed.Of(i)
		sum.OK += s.OK
		sum.Refused += s.Refused
		drains += s.Draining
	}
	if sum.OK == 0 || len(keys) == 0 || drains == 0 {
		broken = append(broken, fmt.Errorf("%d signatures, %d keys and %d refusals by the enclave that drained: too few to show anything", sum.OK, len(keys), drains))
	}
	fmt.Fprintf(p.out, `
keys acknowledged         %d, each verified through both gateways; the enclaves have %d
creates repeated          %d (a gateway or the etcd was away; the same name again is the same key)
signatures in the load    %d, all verified with the public key that Create answered
  refused, retryable      %d (the gateway that was killed, mostly)
  refused by the drain    %d, each with a time to wait, none served elsewhere
directory and enclaves    %s

`, len(keys), there, p.created.Refused.Load(), sum.OK, sum.Refused, drains, said)
	return errors.Join(broken...)
}

// reconcile lets the gateway's own command compare the directory with the enclaves.
func (p *play) reconcile(ctx context.Context) (string, error) {
	var enclaves []string
	for _, e := range p.f.Enclaves {
		enclaves = append(enclaves, e.ID+"="+e.Target)
	}
	cmd := exec.CommandContext(ctx, p.program, "reconcile", "-enclaves", strings.Join(enclaves, ","),
		"-directory", "etcd:"+strings.Join(p.f.Etcd.Endpoints(), ","))
	text, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 && onlyUnmade(lines) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("gateway reconcile: %w\n%s", err, text)
	}
	return lines[len(lines)-1], err
}

// onlyUnmade tells whether all that differs are keys whose Create was cut between being recorded and being made, at the
// end of the load: at most one for each caller.
func onlyUnmade(lines []string) bool {
	for _, l := range lines[:len(lines)-1] {
		if !strings.Contains(l, ": recorded and not made;") {
			return false
		}
	}
	return len(lines)-1 <= creators
}
