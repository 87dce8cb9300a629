package faults

import (
	"context"
	"slices"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/stall"
	"github.com/enclavepool/enclavepool/pool"
)

// retries lets gRPC repeat the signer's methods, all of which are idempotent here, when the enclave was unavailable.
const retries = `{"methodConfig":[{"name":[{"service":"signer.v1.SignerService"}],"retryPolicy":{"maxAttempts":4,` +
	`"initialBackoff":"0.005s","maxBackoff":"0.05s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`

// killPause is the time between two connections that die.
const killPause = 20 * time.Millisecond

// young is the age under which the pool replaces a connection without a pause only while others are of use and within an
// allowance, or an enclave that closes every connection at once would be dialled without one.
const young = 100 * time.Millisecond

// row3 makes the enclave close a connection, any, 50 times a second, once with a retry policy and once without.
//
// The pool is given credentials that number the connections, so that each call knows which one carried it. A call was in
// flight on a connection when that died if it began before and ended after; the calls that failed on one connection
// therefore have to have a moment in common.
var row3 = row{
	number: 3,
	fault:  "one connection dies (closed by the enclave), 50 a second, enclave alive",
	held: "idempotent method with a retry policy: 0 failed calls; otherwise failures ≤ calls in flight on that connection; " +
		"replacement ≤ 20 ms",
	how: "30 s with a retry policy in the service config, 30 s without. Replacement is the time from the request to close to the " +
		"admission of the connection that has its place then (Pool.Stats, OpenedAt).",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, err := r.enclave(ctx, "a")
		if err != nil {
			return err
		}
		lasting := r.lasting(30*time.Second, time.Second)
		with, err := churn(ctx, r, a, lasting, pool.WithServiceConfig(retries))
		if err != nil {
			return err
		}
		kinds, _ := with.calls.kinds(nil)
		res.must(len(with.calls.failed()) == 0 || with.excused, "%d calls failed in spite of the retry policy: %s", len(with.calls.failed()), kinds)
		res.say("with a retry policy: %d connections closed, %d calls, failed: %d", with.killed, len(with.calls), len(with.calls.failed()))

		without, err := churn(ctx, r, a, lasting)
		if err != nil {
			return err
		}
		kinds, wrong := without.calls.kinds(unavailable)
		res.Broken = append(res.Broken, wrong...)
		affected, inFlight := without.calls.sharedFate(res)
		res.say("without: %d connections closed, %d calls, failed: %s; on the %d connections concerned %d were in flight",
			without.killed, len(without.calls), kinds, affected, inFlight)

		res.timing("replaced", append(with.replaced, without.replaced...), worst(20*time.Millisecond))
		res.timing("replaced when it had lived less than 100 ms", append(with.youths, without.youths...), worst(20*time.Millisecond))
		for _, c := range []*churned{with, without} {
			res.must(c.ejected == 0 || c.excused, "%d connections were ejected", c.ejected)
		}
		if n := with.setAside + without.setAside; n > 0 {
			res.say("not timed: %d in a stall of this machine; %d connections ejected for one", n, with.ejected+without.ejected)
		}
		return nil
	},
}

// sharedFate holds the calls that failed on one connection to having been in flight at the same moment. It returns the
// number of such connections and of the calls in flight on them then, those that succeeded included.
func (cs calls) sharedFate(res *Result) (affected, inFlight int) {
	byConn := make(map[uint64]calls)
	for _, c := range cs.failed() {
		byConn[c.conn] = append(byConn[c.conn], c)
	}
	for conn, failed := range byConn {
		last := slices.MaxFunc(failed, byBegin).begin // the connection lived until then
		for _, c := range failed {
			res.must(!c.end.Before(last), "a call failed on connection %d %s before another was begun on it", conn, short(last.Sub(c.end)))
		}
		inFlight += len(cs.where(func(c call) bool { return c.conn == conn && !c.begin.After(last) && !c.end.Before(last) }))
	}
	return len(byConn), inFlight
}

// churned is what a load has seen whose connections died one after another.
type churned struct {
	calls  calls
	killed int
	// replaced are the times to replace a connection, youths those for connections that died young.
	replaced, youths []time.Duration
	// setAside are those that are not among them, since the machine stalled.
	setAside int
	ejected  uint64
	excused  bool // it was a stall that they were ejected for
}

// replacement is a connection that took the place of another.
type replacement struct {
	lost, admitted time.Time
	young          bool
}

func churn(ctx context.Context, r *rig, a *stack.Enclave, lasting time.Duration, opts ...pool.Option) (*churned, error) {
	p, err := r.pool(ctx, config(a), append(opts, pool.WithTransportCredentials(newTags()))...)
	if err != nil {
		return nil, err
	}
	defer closePool(p)
	l := traffic{pool: p, rate: r.rate, choose: to("a")}.start()
	began := time.Now()
	var out churned
	replacements, err := out.kill(ctx, p, a, lasting)
	out.calls = l.stop()
	if err != nil {
		return nil, err
	}
	out.ejected = ejections(p)
	stalls, err := a.Stalls(ctx)
	if err != nil {
		return nil, err
	}
	stalls = append(stalls, r.stalls.Stalls()...)
	if out.ejected > 0 {
		// A connection that is ejected for a stall is noticed a while after it, and not dialled again before the cooldown.
		for i := range stalls {
			stalls[i].To = stalls[i].To.Add(pool.DefaultConfig().Health.Cooldown)
		}
		out.excused = stall.Within(stalls, began, time.Now())
	}
	for _, rep := range replacements {
		took := rep.admitted.Sub(rep.lost)
		switch {
		case rep.lost.Before(began):
		case stall.Within(stalls, rep.lost, rep.admitted):
			out.setAside++
		case rep.young:
			out.youths = append(out.youths, took)
		default:
			out.replaced = append(out.replaced, took)
		}
	}
	return &out, nil
}

// kill makes the enclave close one connection after another.
func (out *churned) kill(ctx context.Context, p *pool.Pool, a *stack.Enclave, lasting time.Duration) ([]replacement, error) {
	if err := sleep(ctx, 100*time.Millisecond); err != nil {
		return nil, err
	}
	var list []replacement
	var seen, missing [conns]time.Time // by index: when the connection was admitted, when it was closed
	var last time.Time                 // when one was last closed
	look := func() {
		var now [conns]time.Time
		for _, c := range p.Stats().Enclaves[a.ID].Connections {
			if c.State == breaker.Healthy {
				now[c.Index] = c.OpenedAt
			}
		}
		for i, at := range now {
			if at.Equal(seen[i]) && !at.IsZero() {
				continue
			}
			if missing[i].IsZero() {
				missing[i] = last
			}
			if !at.IsZero() {
				list = append(list, replacement{missing[i], at, missing[i].Sub(seen[i]) < young})
				seen[i], missing[i] = at, time.Time{}
			}
		}
	}
	look()
	for began, n := time.Now(), 1; time.Since(began) < lasting; n++ {
		last = time.Now()
		dropped, err := a.Drop(ctx, 1)
		if err != nil {
			return nil, err
		}
		out.killed += dropped
		if err := sleep(ctx, time.Until(began.Add(time.Duration(n)*killPause))); err != nil {
			return nil, err
		}
		look()
	}
	_, err := awaitFull(ctx, p, a.ID)
	look()
	return list, err
}
