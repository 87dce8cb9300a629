package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/memdir"
)

// hitGoal is what a hit may cost, in nanoseconds.
const hitGoal = 100

// fourEnclaves is what a gateway of a small fleet sees.
func fourEnclaves() *routing.View {
	var ms []routing.Member
	for _, id := range []string{"a", "b", "c", "d"} {
		ms = append(ms, routing.Member{ID: id, Capacity: 100})
	}
	return routing.NewView(1, ms...)
}

// hits measures Select of keys that are in memory: no I/O, and a part of a microsecond.
func (b *bench) hits(ctx context.Context) error {
	const keys = 100_000
	d := memdir.New()
	defer d.Close()
	p := routing.NewPlaced(routing.NewRendezvous(), d)
	defer p.Close()
	if err := p.Ready(ctx); err != nil {
		return err
	}
	names := make([]string, keys)
	v := fourEnclaves()
	making := routing.WithPlacing(ctx)
	for i := range names {
		names[i] = fmt.Sprintf("key-%022d", i)
		if _, err := p.Select(making, v, names[i]); err != nil {
			return err
		}
	}
	before := p.Stats().Lookups
	res := testing.Benchmark(func(t *testing.B) {
		t.ReportAllocs()
		for i := 0; t.Loop(); i++ {
			if _, err := p.Select(ctx, v, names[i%keys]); err != nil {
				t.Fatal(err)
			}
		}
	})
	one := testing.Benchmark(func(t *testing.B) {
		for t.Loop() {
			_, _ = p.Select(ctx, v, names[0]) // no error above
		}
	})
	both := testing.Benchmark(func(t *testing.B) {
		t.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				_, _ = p.Select(ctx, v, names[i%keys]) // no error above
			}
		})
	})
	asked := p.Stats().Lookups - before
	verdict := "met"
	if ns(one) > hitGoal || res.AllocsPerOp() > 0 || asked > 0 {
		verdict = "NOT met"
	}
	b.add("hit, the same key", fmt.Sprintf("%d allocations, %d questions asked; goal at most %d ns: %s", res.AllocsPerOp(), asked, hitGoal, verdict),
		"%.0f ns, %s/s", ns(one), count(1e9/ns(one)))
	b.add("hit, 100 000 keys in turn", "more keys than the processor's caches hold", "%.0f ns, %s/s", ns(res), count(1e9/ns(res)))
	b.add(fmt.Sprintf("hit, 100 000 keys, on %d cores", runtime.GOMAXPROCS(0)), "", "%s/s", count(1e9/ns(both)))
	return nil
}

func ns(r testing.BenchmarkResult) float64 { return float64(r.T.Nanoseconds()) / float64(r.N) }

// count is a number for people.
func count(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1f M", n/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.0f k", n/1e3)
	case n >= 1e3:
		return fmt.Sprintf("%.1f k", n/1e3)
	}
	return fmt.Sprintf("%.0f", n)
}

// each calls f with 0 to n−1 from so many callers, and returns the first error.
func each(n, callers int, f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, callers)
	for c := range callers {
		wg.Go(func() {
			for i := c; i < n; i += callers {
				if err := f(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}
