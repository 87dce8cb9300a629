package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"

	"github.com/enclavepool/enclavepool/pool"
)

// contention has far more callers than slots. A caller yields once while it
// holds its slot; without that the callers would take turns on the cores and
// hardly ever meet.
func (p plan) contention(ctx context.Context) (Section, error) {
	srv, err := startServer(ctx)
	if err != nil {
		return Section{}, err
	}
	defer srv.stop()
	ours, closePool, err := openPool(ctx, srv.target, 1, p.slots, 1)
	if err != nil {
		return Section{}, err
	}
	defer closePool()
	puddles, err := newPuddle(p.slots)
	if err != nil {
		return Section{}, err
	}
	defer puddles.Close()

	var queued int
	contenders := []struct {
		name string
		hold func() error
	}{
		{"buffered channel", holdChannel(p.slots)},
		{"pool, Acquire + Release", holdPool(ctx, ours)},
		{"puddle v2.2.3", holdPuddle(ctx, puddles)},
		{"the yield alone", func() error { runtime.Gosched(); return nil }},
	}
	unfair := make([][]float64, len(contenders))
	turns := make([]func() (float64, error), len(contenders))
	for i, c := range contenders {
		turns[i] = func() (float64, error) {
			crowd := startCrowd(p.waiters, c.hold)
			time.Sleep(p.waitTurn)
			if i == 1 {
				queued = ours.Stats().Enclaves[enclaveID].Waiters
			}
			nsPerOp, maxOverMin, err := crowd.stop()
			unfair[i] = append(unfair[i], maxOverMin)
			return nsPerOp, errors.Join(err, ctx.Err())
		}
	}
	times, err := inTurns(p.waitRounds, turns...)
	if err != nil {
		return Section{}, err
	}
	var rows []Row
	for i, c := range contenders {
		row := result(c.name, "ns", times[i], times[0]).to("the channel")
		if i == 1 {
			row = row.atMost("ratio", 1.2)
		}
		rows = append(rows, row)
	}
	for i, c := range contenders[:3] {
		row := result(c.name+", most ÷ least served", "", unfair[i], nil)
		if i == 1 {
			row = row.atMost("value", 1.1)
		}
		rows = append(rows, row)
	}
	return Section{Rows: rows, Notes: []string{
		fmt.Sprintf("pool: %d connections of one stream; %d callers, of whom %d were queued when last looked at", p.slots, p.waiters, queued),
		"a caller yields its core once while it holds its slot; the time per turn has that in it, for everybody",
	}}, nil
}

func holdChannel(size int) func() error {
	ch := make(chan *int, size)
	for range size {
		ch <- new(int)
	}
	return func() error {
		v := <-ch
		runtime.Gosched()
		ch <- v
		return nil
	}
}

func holdPool(ctx context.Context, p *pool.Pool) func() error {
	return func() error {
		l, err := p.Acquire(ctx, enclaveID)
		if err != nil {
			return err
		}
		runtime.Gosched()
		l.Release()
		return nil
	}
}

func holdPuddle(ctx context.Context, p *puddle.Pool[int]) func() error {
	return func() error {
		r, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		runtime.Gosched()
		r.Release()
		return nil
	}
}

// crowd does one thing in many goroutines, and counts for each.
type crowd struct {
	began  time.Time
	over   atomic.Bool
	served []int
	errs   []error // by goroutine: why it stopped before the end
	wg     sync.WaitGroup
}

func startCrowd(goroutines int, one func() error) *crowd {
	c := &crowd{served: make([]int, goroutines), errs: make([]error, goroutines)}
	start := make(chan struct{})
	for i := range goroutines {
		c.wg.Go(func() {
			<-start
			n := 0
			for !c.over.Load() && c.errs[i] == nil {
				c.errs[i] = one()
				n++
			}
			c.served[i] = n
		})
	}
	c.began = time.Now()
	close(start)
	return c
}

// stop returns the time that one turn took (the clock's, over the turns of
// all), and how much more often the most served had it than the least.
func (c *crowd) stop() (nsPerOp, maxOverMin float64, err error) {
	c.over.Store(true)
	c.wg.Wait()
	took := time.Since(c.began)
	total := 0
	for _, n := range c.served {
		total += n
	}
	for _, err := range c.errs {
		if err != nil {
			return 0, 0, err // the others say the same
		}
	}
	// Whoever had no turn at all counts as one turn: it is not divided by 0.
	return float64(took) / float64(max(1, total)), float64(slices.Max(c.served)) / float64(max(1, slices.Min(c.served))), nil
}
