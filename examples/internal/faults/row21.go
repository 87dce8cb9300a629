package faults

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
)

// row21 has three subscribers that misbehave, and one that does not, while the enclave comes and goes.
var row21 = row{
	number: 21,
	fault:  "event subscriber blocks, panics, or calls back into the pool",
	held:   "publisher unaffected",
	how: "One subscriber never takes its second event, one panics at its first (and recovers), one calls Stats, Acquire and Events for " +
		"each. The enclave is killed and started again. All 32 connections have to be back as soon as in row 2, a fourth subscriber " +
		"hears of losses and returns, and the one that blocked finds the latest state of everything when it goes on.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, err := r.enclave(ctx, "a")
		if err != nil {
			return err
		}
		p, err := r.pool(ctx, config(a))
		if err != nil {
			return err
		}
		listening, end := context.WithCancel(ctx)
		defer end()
		var subscribers sync.WaitGroup
		defer subscribers.Wait()
		defer end()
		release := make(chan struct{})
		blocked := map[int]breaker.State{} // by connection: what the one that blocks believes
		believed := 0
		subscribers.Go(func() {
			for ev := range p.Events(listening) {
				blocked[ev.Conn] = ev.To
				believed++
				select {
				case <-release:
				case <-listening.Done():
				}
			}
		})
		panicked := make(chan any, 1)
		subscribers.Go(func() {
			defer func() { panicked <- recover() }()
			for range p.Events(listening) {
				panic("a subscriber")
			}
		})
		var called, lost, back atomic.Int64
		subscribers.Go(func() {
			for range p.Events(listening) {
				called.Add(1)
				p.Stats()
				for range p.Events(listening) {
					break
				}
				if l, err := p.Acquire(listening, a.ID); err == nil {
					l.Release()
				}
			}
		})
		subscribers.Go(func() {
			for ev := range p.Events(listening) {
				switch {
				case ev.Conn >= 0:
				case ev.To == breaker.Healthy:
					back.Add(1)
				default:
					lost.Add(1)
				}
			}
		})
		var took []time.Duration
		times := r.times(20, 2)
		for range times {
			a.Kill()
			if _, err := awaitGone(ctx, p, a.ID); err != nil {
				return err
			}
			if err := a.Start(ctx); err != nil {
				return err
			}
			if _, err := awaitFull(ctx, p, a.ID); err != nil {
				return err
			}
			stats, err := a.Stats(ctx)
			if err != nil {
				return err
			}
			_, last := admissions(p, a.ID)
			took = append(took, last.Sub(stats.ServingSince))
			if err := sleep(ctx, settling); err != nil {
				return err
			}
		}
		res.must(<-panicked == "a subscriber", "the panic did not reach its subscriber")
		// One that gets no processor for a while may find a loss made good already.
		res.must(lost.Load() > 0 && back.Load() > lost.Load()-1, "of %d losses the well-behaved subscriber heard of %d, and of %d returns",
			times, lost.Load(), back.Load()-1)
		res.must(called.Load() >= int64(2*times), "the subscriber that calls back was told %d times of %d losses and returns", called.Load(), times)
		close(release)
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
		end()
		subscribers.Wait()
		wrong := 0
		for _, state := range blocked {
			if state != breaker.Healthy {
				wrong++
			}
		}
		res.must(len(blocked) == conns+1 && wrong == 0, "the subscriber that had blocked knows of %d of %d, and %d of them are wrong", len(blocked), conns+1, wrong)
		res.timing("all 32 back", took, goal{quantile: 0.99, limit: required}.waiting(required))
		res.say("%d losses, of which the well-behaved subscriber heard of %d; the one that calls back was told of %d events, the one that had "+
			"blocked of %d", times, lost.Load(), called.Load(), believed)
		return nil
	},
}
