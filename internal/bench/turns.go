package main

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// A loop does its operation n times, or fails; several goroutines may be in it
// at once.
type loop func(n int) error

// timed returns how long one operation takes, in ns.
func (l loop) timed(n int) (float64, error) {
	start := time.Now()
	err := l(n)
	return float64(time.Since(start)) / float64(n), err
}

// spread is l in so many goroutines at once, which share the n.
func (l loop) spread(goroutines int) loop {
	return func(n int) error {
		errs := make([]error, goroutines)
		var wg sync.WaitGroup
		for i := range goroutines {
			wg.Go(func() { errs[i] = l(n / goroutines) })
		}
		wg.Wait()
		return errors.Join(errs...)
	}
}

// lasting returns an n for which l takes about d.
func (l loop) lasting(d time.Duration) (int, error) {
	for n := 64; ; n *= 2 {
		start := time.Now()
		if err := l(n); err != nil {
			return 0, err
		}
		if took := time.Since(start); took >= d/4 {
			return max(64, int(float64(n)*float64(d)/float64(took))), nil
		}
	}
}

// inTurns calls each of the contenders once a round, so that all of them see
// the same machine, and begins each round with another one. It returns their
// results, by contender and round; the first error ends it.
func inTurns(rounds int, contenders ...func() (float64, error)) ([][]float64, error) {
	results := make([][]float64, len(contenders))
	for round := range rounds {
		for i := range contenders {
			i = (i + round) % len(contenders)
			v, err := contenders[i]()
			if err != nil {
				return nil, err
			}
			results[i] = append(results[i], v)
		}
	}
	return results, nil
}

// quantile returns the value below which the share q of the values lies; the
// nearest one, without interpolation. values must not be empty.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// over divides by the base's result of the same round. A round in which the
// base was too short to be seen has no ratio.
func over(values, base []float64) []float64 {
	var ratios []float64
	for i := range values {
		if base[i] > 0 {
			ratios = append(ratios, values[i]/base[i])
		}
	}
	return ratios
}

// result makes a row of what was measured in turns. base may be nil: no ratio.
func result(name, unit string, values, base []float64) Row {
	r := Row{Name: name, Value: median(values), Unit: unit}
	if base == nil {
		return r
	}
	if ratios := over(values, base); len(ratios) > 0 {
		r.Ratio, r.Low, r.High = median(ratios), quantile(ratios, 0.25), quantile(ratios, 0.75)
	}
	return r
}
