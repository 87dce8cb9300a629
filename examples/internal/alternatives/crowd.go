package alternatives

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/status"
)

// callTimeout is every call's deadline.
const callTimeout = time.Second

// failurePause keeps callers who are refused at once from doing nothing else.
const failurePause = 5 * time.Millisecond

// outcome is one call.
type outcome struct {
	began, took time.Duration // began: since the crowd's start
	failed      bool
}

// crowd calls in a closed loop.
type crowd struct {
	began  time.Time
	calls  [][]outcome // by caller
	codes  []map[string]int
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func startCrowd(ctx context.Context, w *opened, callers int) *crowd {
	ctx, cancel := context.WithCancel(ctx)
	c := &crowd{began: time.Now(), calls: make([][]outcome, callers), codes: make([]map[string]int, callers), cancel: cancel}
	for i := range callers {
		c.codes[i] = map[string]int{}
		c.wg.Go(func() {
			digest := make([]byte, 32)
			for ctx.Err() == nil {
				began := time.Since(c.began)
				// Not the crowd's context: the last calls are to end by themselves.
				calling, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
				err := w.sign(calling, digest)
				cancel()
				c.calls[i] = append(c.calls[i], outcome{began, time.Since(c.began) - began, err != nil})
				if err != nil {
					c.codes[i][status.Code(err).String()]++
					time.Sleep(failurePause)
				}
			}
		})
	}
	return c
}

// stop lets the calls in flight end, and returns all, in the order in which they ended.
func (c *crowd) stop() (all []outcome, codes map[string]int) {
	c.cancel()
	c.wg.Wait()
	codes = map[string]int{}
	for i := range c.calls {
		all = append(all, c.calls[i]...)
		for code, n := range c.codes[i] {
			codes[code] += n
		}
	}
	slices.SortFunc(all, func(a, b outcome) int { return int(a.began + a.took - b.began - b.took) })
	return all, codes
}

// window is the length of time in which calls are counted to tell a rate.
const window = 50 * time.Millisecond

// rates returns how many calls succeeded in each window.
func rates(all []outcome, until time.Duration) []int {
	n := make([]int, int(until/window)+1)
	for _, o := range all {
		if i := int((o.began + o.took) / window); !o.failed && i < len(n) {
			n[i]++
		}
	}
	return n
}

// recovery returns when, from the given time on, the rate was first back at nine tenths of what
// it was before the fault, and stayed there for a quarter of a second; −1: not within the run.
func recovery(all []outcome, fault, from, until time.Duration) time.Duration {
	n := rates(all, until)
	first := int(fault/window) / 2 // the first half is warming up
	before := slices.Clone(n[first:int(fault/window)])
	if len(before) == 0 {
		return -1
	}
	slices.Sort(before)
	enough := before[len(before)/2] * 9 / 10
	const steady = 5
	for i := int(from / window); i+steady < len(n); i++ {
		sum := 0
		for _, v := range n[i : i+steady] {
			sum += v
		}
		if n[i] > 0 && sum >= steady*enough {
			return max(0, time.Duration(i)*window-from)
		}
	}
	return -1
}

// stall returns the longest time, from the fault on, in which not one call succeeded.
func stall(all []outcome, from, until time.Duration) time.Duration {
	last, longest := from, time.Duration(0)
	for _, o := range all {
		if end := o.began + o.took; !o.failed && end > from && end <= until {
			longest, last = max(longest, end-last), end
		}
	}
	return max(longest, until-last)
}

// quantile returns that of the calls that succeeded.
func quantile(all []outcome, q float64) time.Duration {
	var took []time.Duration
	for _, o := range all {
		if !o.failed {
			took = append(took, o.took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(q*float64(len(took))))]
}
