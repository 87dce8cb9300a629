package routing_test

import (
	"fmt"
	"testing"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/memdir"
)

// BenchmarkPlacedHit is a key that is kept, among so many others.
func BenchmarkPlacedHit(b *testing.B) {
	for _, kept := range []int{1_000, 100_000} {
		d := memdir.New()
		p := routing.NewPlaced(routing.NewRendezvous(), d)
		if err := p.Ready(ctx); err != nil {
			b.Fatal(err)
		}
		v := view("a", "b", "c", "d", "e", "f", "g", "h")
		keys := make([]string, kept)
		for i := range keys {
			keys[i] = fmt.Sprintf("%032x", i)
			if _, err := p.Select(making, v, keys[i]); err != nil {
				b.Fatal(err)
			}
		}
		asked := p.Stats().Lookups
		b.Run(fmt.Sprintf("of %d, one caller", kept), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_, _ = p.Select(ctx, v, keys[i%kept])
			}
		})
		b.Run(fmt.Sprintf("of %d, on every core", kept), func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					_, _ = p.Select(ctx, v, keys[i%kept])
				}
			})
		})
		if n := p.Stats().Lookups; n != asked {
			b.Errorf("the directory was asked %d times", n-asked)
		}
		_ = p.Close() // always nil
		_ = d.Close() // the same
	}
}
