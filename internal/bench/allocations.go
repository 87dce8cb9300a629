package main

import "runtime"

// allocations measures n operations of l several times, and returns the medians
// of what one operation allocates: the median leaves out the turns in which
// something else in the process allocated too, such as a health probe.
func allocations(l loop, n int) (objects, bytes float64, err error) {
	var counts, sizes []float64
	var before, after runtime.MemStats
	for range 21 {
		runtime.ReadMemStats(&before)
		if err := l(n); err != nil {
			return 0, 0, err
		}
		runtime.ReadMemStats(&after)
		counts = append(counts, float64(after.Mallocs-before.Mallocs)/float64(n))
		sizes = append(sizes, float64(after.TotalAlloc-before.TotalAlloc)/float64(n))
	}
	return median(counts), median(sizes), nil
}

// allocationRows are two for each: objects and bytes.
func allocationRows(name string, l loop, n int) ([]Row, error) {
	objects, bytes, err := allocations(l, n)
	return []Row{
		{Name: name, Value: objects, Unit: "allocs"},
		{Name: name, Value: bytes, Unit: "B"},
	}, err
}
