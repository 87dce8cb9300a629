package pool

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// The floor: what any admission that counts has to pay.
func BenchmarkAtomicFloor(b *testing.B) {
	var word struct {
		_ [64]byte
		n atomic.Uint64
		_ [64]byte
	}
	for b.Loop() {
		word.n.Add(1)
		word.n.Add(^uint64(0))
	}
}

func bare32() *enclave {
	limits := make([]uint32, 32)
	for i := range limits {
		limits[i] = 100
	}
	return newBareEnclave(limits...)
}

func BenchmarkReserveRelease(b *testing.B) {
	e := bare32()
	b.Run("serial", func(b *testing.B) {
		for b.Loop() {
			e.release(e.reserve(nil).conn)
		}
	})
	b.Run("goroutines=16", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				e.release(e.reserve(nil).conn)
			}
		})
	})
}

func BenchmarkAcquireRelease(b *testing.B) {
	e := bare32()
	p := &Pool{}
	p.enclaves.Store(&enclaveSet{byID: map[string]*enclave{"bare": e}, all: []*enclave{e}})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		l, _ := p.Acquire(ctx, "bare")
		l.Release()
	}
}

// Finding an enclave by its ID, the last of so many whose IDs differ at the end.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1, few, few + 1, 100} {
		set := &enclaveSet{byID: map[string]*enclave{}}
		for i := range n {
			e := &enclave{id: fmt.Sprintf("enclave-%02d", i)}
			set.byID[e.id] = e
			set.all = append(set.all, e)
		}
		id := fmt.Sprintf("enclave-%02d", n-1)
		b.Run(fmt.Sprintf("enclaves=%d", n), func(b *testing.B) {
			for b.Loop() {
				if set.find(id) == nil {
					b.Fatal("not found")
				}
			}
		})
		b.Run(fmt.Sprintf("enclaves=%d/map", n), func(b *testing.B) {
			for b.Loop() {
				if set.byID[id] == nil {
					b.Fatal("not found")
				}
			}
		})
	}
}

// 1000 goroutines share 32 slots, so that nearly every one has to wait. Each
// yields while it holds one: without that they would hardly ever meet.
func BenchmarkWaiters(b *testing.B) {
	const waiters, slots = 1000, 32
	run := func(b *testing.B, hold func(ctx context.Context), end bool) {
		var wg sync.WaitGroup
		for range waiters {
			ctx := context.Background()
			if end {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				defer cancel()
			}
			wg.Go(func() {
				for range b.N/waiters + 1 {
					hold(ctx)
				}
			})
		}
		wg.Wait()
	}
	tokens := make(chan *int, slots)
	for range slots {
		tokens <- new(int)
	}
	limits := make([]uint32, slots)
	for i := range limits {
		limits[i] = 1
	}
	e := newBareEnclave(limits...)
	e.full.Store(true) // as the keeper says of a pool that cannot grow
	pool := func(ctx context.Context) {
		l, _ := e.acquire(ctx, untilBudget)
		runtime.Gosched()
		l.Release()
	}
	b.Run("channel", func(b *testing.B) {
		run(b, func(context.Context) {
			v := <-tokens
			runtime.Gosched()
			tokens <- v
		}, false)
	})
	b.Run("pool", func(b *testing.B) { run(b, pool, false) })
	b.Run("select", func(b *testing.B) {
		run(b, func(ctx context.Context) {
			select {
			case v := <-tokens:
				runtime.Gosched()
				tokens <- v
			case <-ctx.Done():
			}
		}, true)
	})
	b.Run("pool-that-gives-up", func(b *testing.B) { run(b, pool, true) })
}
