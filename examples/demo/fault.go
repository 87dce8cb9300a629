package main

import (
	"context"
	"fmt"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/load"
	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// watchEvery is the pause between two attempts to sign with a key of the victim's.
const watchEvery = 5 * time.Millisecond

// fault kills the victim under load and brings it back. It returns the report of the load up to the restart; that of
// the load from there on goes into the result.
//
// The new process has none of the old one's keys, since they live in memory only, so the load begins anew and creates
// them again. What it cannot do before the enclave is back is what its callers cannot do either.
func (p *player) fault(ctx context.Context) (*load.Report, error) {
	e := p.enclave(victim)
	type outcome struct {
		report *load.Report
		err    error
	}
	loading, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	ended := make(chan outcome, 1)
	started, signalStart := context.WithCancel(ctx)
	go func() {
		defer signalStart()
		report, err := p.load(loading, victim, endless, signalStart)
		ended <- outcome{report, err}
	}()
	finish := func(err error) (*load.Report, error) {
		stopLoad()
		o := <-ended
		if err == nil {
			err = o.err
		}
		return o.report, err
	}

	sleep(ctx, p.share(untilKill))
	if <-started.Done(); ctx.Err() != nil {
		return finish(ctx.Err())
	}
	stats, err := e.Stats(ctx)
	if err != nil {
		return finish(err)
	}
	p.r.Opened[victim] = stats.ConnectionsAccepted
	if p.r.Strict.Before, err = servedSoFar(ctx, p.st.Gateway); err != nil {
		return finish(err)
	}
	p.r.Killed = time.Since(p.start)
	e.Kill()
	p.say("%s killed (kill -9): its keys cannot sign, the others' can", victim)
	watching, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	signing := make(chan time.Duration, 1)
	go func() { signing <- p.watch(watching) }()

	sleep(ctx, p.share(away))
	report, err := finish(ctx.Err())
	if err != nil {
		return nil, err
	}
	for _, i := range report.Intervals {
		if report.Started.Add(i.End).Sub(p.start) <= p.r.Killed {
			p.r.EarlyFailures += i.Failed
		}
	}
	sofar, err := servedSoFar(ctx, p.st.Gateway)
	if err != nil {
		return nil, err
	}
	p.r.Strict.Outage = sofar.minus(p.r.Strict.Before)
	p.r.Restarting = time.Since(p.start)
	if err := e.Start(ctx); err != nil {
		return nil, err
	}
	p.r.Listening = time.Since(p.start)
	p.say("%s started again, without keys: they are created anew", victim)
	if p.r.Return, err = p.load(ctx, victim, p.share(back), nil); err != nil {
		return nil, err
	}
	stopWatch() // if it has seen no signature by now, the load has not made one either
	p.r.Signing = <-signing
	return report, nil
}

// watch tries to sign with a key of the victim's, over and over, until that works. It returns when that was, or 0 when
// ctx ended before.
func (p *player) watch(ctx context.Context) time.Duration {
	client := signerv1.NewSignerServiceClient(p.conns[victim])
	name := p.names[victim][keysEach] // not one of the load's
	digest := make([]byte, signer.DigestSize)
	attempt := func() error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		key, err := client.Create(ctx, &signerv1.CreateRequest{KeyId: name})
		if err != nil {
			return err
		}
		res, err := client.Sign(ctx, &signerv1.SignRequest{KeyId: name, Digest: digest})
		if err != nil {
			return err
		}
		return signer.Verify(key.GetAlgorithm(), key.GetPublicKey(), digest, res.GetSignature())
	}
	for sleep(ctx, watchEvery) {
		if attempt() == nil {
			return time.Since(p.start)
		}
	}
	return 0
}

func (p *player) enclave(id string) *stack.Enclave {
	for _, e := range p.st.Enclaves {
		if e.ID == id {
			return e
		}
	}
	panic("no enclave " + id) // IDs are constants here
}

// say prints what has just happened.
func (p *player) say(format string, args ...any) {
	p.out.line(p.out.paint(bold, fmt.Sprintf("%6.1fs  ", time.Since(p.start).Seconds())+fmt.Sprintf(format, args...)))
}

// sleep waits, and reports whether it did so before ctx ended.
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
