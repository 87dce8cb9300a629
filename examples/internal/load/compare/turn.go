package compare

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"sync"
	"time"
)

// failurePause is how long a caller waits after a request that failed, so that an enclave which refuses
// at once does not turn the run into a count of refusals.
const failurePause = 5 * time.Millisecond

// crowd is the callers of one table. Its memory is used again in every turn, so that the turns do not
// allocate.
type crowd struct {
	tasks   [][]task
	timeout time.Duration
	callers []caller
	all     []time.Duration
}

// caller is what one caller saw in a turn.
type caller struct {
	latency       []time.Duration // of each request that was answered rightly
	failed, wrong uint64
	example       error
}

// turn is what a mode did in one round.
type turn struct {
	throughput            float64 // right answers per second
	p50, p99, p999        time.Duration
	clientCPU, enclaveCPU float64 // seconds per 10 000 right answers; below 0: not known
	allocs                float64 // per right answer
	signed, failed, wrong uint64
	dials                 uint64
	example               error
	elapsed               time.Duration
	hasDials              bool
}

func newCrowd(tasks [][]task, timeout time.Duration) *crowd {
	return &crowd{tasks: tasks, timeout: timeout, callers: make([]caller, len(tasks))}
}

// work has every caller make one request after another for d, and returns how long that took to its end.
func (c *crowd) work(ctx context.Context, m mode, d time.Duration) time.Duration {
	start := time.Now()
	var wg sync.WaitGroup
	for i := range c.callers {
		wg.Go(func() { c.callers[i].work(ctx, m, c.tasks[i], c.timeout, start, d) })
	}
	wg.Wait()
	return time.Since(start)
}

func (c *caller) work(ctx context.Context, m mode, tasks []task, timeout time.Duration, start time.Time, d time.Duration) {
	c.latency, c.failed, c.wrong, c.example = c.latency[:0], 0, 0, nil
	base, stop := context.WithCancel(ctx) // its own: requests of different callers share no lock
	defer stop()
	for n := 0; ctx.Err() == nil; n++ {
		t := &tasks[n%len(tasks)]
		began := time.Now()
		if began.Sub(start) >= d {
			return
		}
		own, cancel := context.WithTimeout(base, timeout) // as every request has one
		got, err := m.sign(own, t)
		took := time.Since(began)
		cancel()
		switch {
		case err != nil:
			c.failed++
			c.example = err
			time.Sleep(failurePause)
		case !bytes.Equal(got, t.want):
			c.wrong++
		default:
			c.latency = append(c.latency, took)
		}
	}
}

// turn measures one mode.
func (c *crowd) turn(ctx context.Context, m mode, places []place, warmUp, d time.Duration) (turn, error) {
	c.work(ctx, m, warmUp)
	runtime.GC() // what others left behind
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	enclaves, err := cpuOf(places)
	if err != nil {
		return turn{}, err
	}
	var dials uint64
	if m.dials != nil {
		dials = m.dials()
	}
	client := cpuTime()

	elapsed := c.work(ctx, m, d)

	client = cpuTime() - client
	enclavesAfter, err := cpuOf(places)
	if err != nil {
		return turn{}, err
	}
	runtime.ReadMemStats(&after)
	out := turn{elapsed: elapsed, clientCPU: -1, enclaveCPU: -1}
	if m.dials != nil {
		out.dials, out.hasDials = m.dials()-dials, true
	}
	c.all = c.all[:0]
	for i := range c.callers {
		one := &c.callers[i]
		c.all = append(c.all, one.latency...)
		out.failed += one.failed
		out.wrong += one.wrong
		if one.example != nil {
			out.example = one.example
		}
	}
	n := float64(len(c.all))
	if n == 0 {
		return out, ctx.Err()
	}
	slices.Sort(c.all)
	out.signed, out.throughput = uint64(n), n/elapsed.Seconds()
	out.p50, out.p99, out.p999 = at(c.all, 0.5), at(c.all, 0.99), at(c.all, 0.999)
	out.allocs = float64(after.Mallocs-before.Mallocs) / n
	if client > 0 {
		out.clientCPU = client.Seconds() / n * 1e4
	}
	if enclaves >= 0 {
		out.enclaveCPU = (enclavesAfter - enclaves).Seconds() / n * 1e4
	}
	return out, ctx.Err()
}

// cpuOf returns the CPU time that the enclaves have used together; below 0: not known.
func cpuOf(places []place) (time.Duration, error) {
	var sum time.Duration
	for _, p := range places {
		if p.process == nil {
			return -1, nil
		}
		t, err := p.process.cpuTime()
		if err != nil {
			return 0, err
		}
		if t == 0 {
			return -1, nil
		}
		sum += t
	}
	return sum, nil
}

// at returns the value below which the share q of the sorted values lies; the nearest one.
func at[T any](sorted []T, q float64) T { return sorted[int(q*float64(len(sorted)-1)+0.5)] }
