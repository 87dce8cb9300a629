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

	// Callers that can give up have a context each, as requests have: one that
	// they share would be one more thing to contend for.
	endless, own := make([]context.Context, p.waiters), make([]context.Context, p.waiters)
	for i := range own {
		var cancel context.CancelFunc
		own[i], cancel = context.WithCancel(ctx)
		defer cancel()
		endless[i] = context.WithoutCancel(ctx)
	}
	var queued int
	const ourOwn, unmeasured = 3, 5 // the pool with contexts that can end; the yield, which has no turns
	contenders := []struct {
		name string
		hold func(caller int) error
		goal float64
	}{
		{"buffered channel", holdChannel(p.slots), 0},
		{"pool, callers that wait for ever", holdPool(endless, ours), 1.2},
		{"buffered channel, or the caller's context", holdSelect(own, p.slots), 0},
		{"pool, callers that can give up", holdPool(own, ours), 1.2},
		{"puddle v2.2.3, callers that can give up", holdPuddle(own, puddles), 0},
		{"the yield alone", func(int) error { runtime.Gosched(); return nil }, 0},
	}
	unfair := make([][]float64, len(contenders))
	turns := make([]func() (float64, error), len(contenders))
	for i, c := range contenders {
		turns[i] = func() (float64, error) {
			crowd := startCrowd(p.waiters, c.hold)
			time.Sleep(p.waitTurn)
			if i == ourOwn {
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
		if c.goal > 0 {
			row = row.atMost("ratio", c.goal)
		}
		rows = append(rows, row)
	}
	for i, c := range contenders[:unmeasured] {
		row := result(c.name+", most ÷ least served", "", unfair[i], nil)
		if c.goal > 0 {
			row = row.atMost("value", 1.1)
		}
		rows = append(rows, row)
	}
	return Section{Rows: rows, Notes: []string{
		fmt.Sprintf("pool: %d connections of one stream; %d callers, of whom %d were queued when last looked at", p.slots, p.waiters, queued),
		"a caller yields its core once while it holds its slot; the time per turn has that in it, for everybody",
		"or the caller's context: a select on the channel and on the end of the caller's own context, as whoever can give up has to wait",
	}}, nil
}

func holdChannel(size int) func(int) error {
	ch := full(size)
	return func(int) error {
		v := <-ch
		runtime.Gosched()
		ch <- v
		return nil
	}
}

func holdSelect(ctxs []context.Context, size int) func(int) error {
	ch := full(size)
	return func(caller int) error {
		ctx := ctxs[caller]
		select {
		case v := <-ch:
			runtime.Gosched()
			ch <- v
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// full is a channel with so many things to take.
func full(size int) chan *int {
	ch := make(chan *int, size)
	for range size {
		ch <- new(int)
	}
	return ch
}

func holdPool(ctxs []context.Context, p *pool.Pool) func(int) error {
	return func(caller int) error {
		l, err := p.Acquire(ctxs[caller], enclaveID)
		if err != nil {
			return err
		}
		runtime.Gosched()
		l.Release()
		return nil
	}
}

func holdPuddle(ctxs []context.Context, p *puddle.Pool[int]) func(int) error {
	return func(caller int) error {
		r, err := p.Acquire(ctxs[caller])
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

func startCrowd(goroutines int, one func(i int) error) *crowd {
	c := &crowd{served: make([]int, goroutines), errs: make([]error, goroutines)}
	start := make(chan struct{})
	for i := range goroutines {
		c.wg.Go(func() {
			<-start
			n := 0
			for !c.over.Load() && c.errs[i] == nil {
				c.errs[i] = one(i)
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
