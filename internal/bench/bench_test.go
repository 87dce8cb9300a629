package main

import "testing"

// BenchmarkTakeAndGiveBack is the table's first section for "go test -bench",
// without what only package pool's own benchmarks reach.
func BenchmarkTakeAndGiveBack(b *testing.B) {
	contenders, closeAll, err := fullPlan().contenders(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer closeAll()
	for _, c := range contenders {
		for name, l := range map[string]loop{"serial": c.loop, "goroutines=16": c.loop.spread(parallel)} {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				if err := l(b.N); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
