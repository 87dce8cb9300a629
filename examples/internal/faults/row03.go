package faults

import (
	"context"
	"slices"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
)

// retries lets gRPC repeat the signer's methods, all of which are idempotent here, when the enclave was unavailable.
const retries = `{"methodConfig":[{"name":[{"service":"signer.v1.SignerService"}],"retryPolicy":{"maxAttempts":4,` +
	`"initialBackoff":"0.005s","maxBackoff":"0.05s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`

// killPause is the time between two connections that die.
const killPause = 20 * time.Millisecond

// young is the age under which the pool does not replace a connection without a pause, or an enclave that closes every
// connection at once would be dialled without one.
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
		with, replaced, youths, killed, err := churn(ctx, r, config(a), lasting, a.Drop, pool.WithServiceConfig(retries))
		if err != nil {
			return err
		}
		kinds, _ := with.kinds(nil)
		res.must(len(with.failed()) == 0, "%d calls failed in spite of the retry policy: %s", len(with.failed()), kinds)
		res.say("with a retry policy: %d connections closed, %d calls, failed: %d", killed, len(with), len(with.failed()))

		without, more, moreYouths, killed, err := churn(ctx, r, config(a), lasting, a.Drop)
		if err != nil {
			return err
		}
		replaced, youths = append(replaced, more...), append(youths, moreYouths...)
		kinds, wrong := without.kinds(unavailable)
		res.Broken = append(res.Broken, wrong...)
		failed := without.failed()
		byConn := make(map[uint64]calls)
		for _, c := range failed {
			byConn[c.conn] = append(byConn[c.conn], c)
		}
		inFlight := 0
		for conn, cs := range byConn {
			last := slices.MaxFunc(cs, byBegin).begin // the connection lived until then
			for _, c := range cs {
				res.must(!c.end.Before(last), "a call failed on connection %d %s before another was begun on it", conn, short(last.Sub(c.end)))
			}
			inFlight += len(without.where(func(c call) bool { return c.conn == conn && !c.end.Before(last) }))
		}
		res.must(len(failed) <= inFlight, "%d calls failed, and only %d were in flight", len(failed), inFlight)
		res.say("without: %d connections closed, %d calls, failed: %s; on the %d connections concerned %d were in flight",
			killed, len(without), kinds, len(byConn), inFlight)
		res.timing("replaced", replaced, worst(20*time.Millisecond))
		res.timing("replaced when it had lived less than 100 ms", youths, worst(20*time.Millisecond))
		return nil
	},
}

// churn puts load on a pool whose connections die one after another, and returns the calls, the times to replace a
// connection, those for connections that died young apart, and how many died.
func churn(ctx context.Context, r *rig, cfg pool.Config, lasting time.Duration, drop func(context.Context, int) (int, error), opts ...pool.Option) (
	made calls, replaced, youths []time.Duration, killed int, err error) {
	p, err := r.pool(ctx, cfg, append(opts, pool.WithTransportCredentials(newTags()))...)
	if err != nil {
		return nil, nil, nil, 0, err
	}
	defer closePool(p)
	l := traffic{pool: p, rate: r.rate, choose: to("a")}.start()
	stop := func() { l.stop() }
	defer func() { stop() }()
	if err := sleep(ctx, 100*time.Millisecond); err != nil {
		return nil, nil, nil, 0, err
	}
	var seen, missing [conns]time.Time // by index: when the connection was admitted, when it was closed
	var last time.Time                 // when one was last closed
	look := func() {
		var now [conns]time.Time
		for _, c := range p.Stats().Enclaves["a"].Connections {
			if c.State == breaker.Healthy {
				now[c.Index] = c.OpenedAt
			}
		}
		for i, at := range now {
			switch {
			case at.Equal(seen[i]) && !at.IsZero():
				continue
			case missing[i].IsZero():
				missing[i] = last
			}
			if !at.IsZero() {
				if missing[i].Sub(seen[i]) < young {
					youths = append(youths, at.Sub(missing[i]))
				} else {
					replaced = append(replaced, at.Sub(missing[i]))
				}
				seen[i], missing[i] = at, time.Time{}
			}
		}
	}
	look()
	replaced, youths = nil, nil // those from before
	for began, n := time.Now(), 1; time.Since(began) < lasting; n++ {
		last = time.Now()
		dropped, err := drop(ctx, 1)
		if err != nil {
			return nil, nil, nil, 0, err
		}
		killed += dropped
		if err := sleep(ctx, time.Until(began.Add(time.Duration(n)*killPause))); err != nil {
			return nil, nil, nil, 0, err
		}
		look()
	}
	if _, err := awaitFull(ctx, p, "a"); err != nil {
		return nil, nil, nil, 0, err
	}
	look()
	stop = func() {}
	return l.stop(), replaced, youths, killed, nil
}
