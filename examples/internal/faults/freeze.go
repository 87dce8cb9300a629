package faults

import (
	"context"
	"slices"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/pool"
)

// frozen is what one freeze of enclave a has shown.
type frozen struct {
	at, out time.Time // when it was frozen, and out of rotation
	failed  calls     // on it
	excused bool      // b was starved, and lost connections for that
	other   calls     // on b, from the freeze on
	before  calls     // on b, until then
}

// freeze freezes a under load until it is out of rotation, and lets it go on; fill, if it is not nil, is called once it
// is frozen.
func freeze(ctx context.Context, r *rig, p *pool.Pool, a, b *stack.Enclave, fill func() error) (*frozen, error) {
	began := time.Now()
	onA := traffic{pool: p, rate: r.rate / 2, choose: to("a")}.start()
	onB := traffic{pool: p, rate: r.rate / 2, choose: to("b")}.start()
	f, err := freezeUnder(ctx, p, a, fill)
	madeA, madeB := onA.stop(), onB.stop()
	if err != nil {
		return nil, err
	}
	f.failed = madeA.failed()
	if f.excused, err = r.excused(ctx, p, b, began); err != nil {
		return nil, err
	}
	f.before, f.other = madeB.begun(time.Time{}, f.at), madeB.begun(f.at, time.Now())
	return f, nil
}

func freezeUnder(ctx context.Context, p *pool.Pool, a *stack.Enclave, fill func() error) (*frozen, error) {
	if err := sleep(ctx, 300*time.Millisecond); err != nil {
		return nil, err
	}
	f := &frozen{at: time.Now()}
	if err := a.Freeze(); err != nil {
		return nil, err
	}
	defer a.Thaw() //nolint:errcheck // it fails only when the enclave has ended
	if fill != nil {
		if err := fill(); err != nil {
			return nil, err
		}
	}
	var err error
	if f.out, err = awaitGone(ctx, p, a.ID); err != nil {
		return nil, err
	}
	return f, sleep(ctx, 100*time.Millisecond)
}

// stuck is what the freezes of a row have shown.
type stuck struct {
	out, calls, late      []time.Duration
	failed, before, other calls
	excused               bool
	waited                time.Duration
}

// add adds a freeze. The calls that were in flight at its beginning are timed from there, and so is how much later than the
// enclave's connections the last call ended that had been sent. One that was not sent yet waits for the enclave to come
// back, as any call does for the reconnect budget.
func (s *stuck) add(f *frozen) {
	s.out = append(s.out, f.out.Sub(f.at))
	var late time.Duration
	for _, c := range f.failed {
		switch {
		case unsent(c.err):
			s.waited = max(s.waited, c.latency())
			continue
		case c.begin.Before(f.at):
			s.calls = append(s.calls, c.end.Sub(f.at))
		}
		late = max(late, c.end.Sub(f.out))
	}
	s.late = append(s.late, late)
	s.excused = s.excused || f.excused
	s.failed, s.before, s.other = append(s.failed, f.failed...), append(s.before, f.before...), append(s.other, f.other...)
}

// silence is what of that is waiting for a sign of life.
const silence = 225 * time.Millisecond

// report says what was added.
func (s *stuck) report(res *Result) {
	res.timing("out of rotation", s.out, worst(250*time.Millisecond).waiting(silence))
	res.timing("calls in flight at SIGSTOP failed", s.calls, worst(260*time.Millisecond).waiting(silence))
	res.timing("the last call that was sent failed later than that", s.late, worst(10*time.Millisecond))
	kinds, wrong := s.failed.kinds(unavailable)
	res.Broken = append(res.Broken, wrong...)
	res.say("failed on the frozen enclave: %s; those that were not sent waited for it up to %s", kinds, short(s.waited))
	res.neighbour(s.before, s.other, s.excused)
}

// neighbour says what the callers of the enclave to which nothing was done have noticed. What they did is excused when the
// machine was starved.
func (r *Result) neighbour(before, during calls, excused bool) {
	kinds, _ := append(slices.Clone(before), during...).kinds(nil)
	r.must(kinds == "none" || excused, "calls to enclave b failed, to which nothing was done: %s", kinds)
	r.say("enclave b: p99 %s before, %s during (n=%d, %d), failed: %s", short(quantile(before.latencies(), 0.99)),
		short(quantile(during.latencies(), 0.99)), len(before), len(during), kinds)
}
