package main

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"time"

	"github.com/enclavepool/enclavepool/routing"
)

// made is a Directory that has keys without keeping them, so that what is measured is the gateway's memory alone. It is
// listed and watched, no more.
type made struct {
	routing.Directory
	n int
}

// List implements routing.Directory.
func (m made) List(_ context.Context, after string, limit int) (routing.Page, error) {
	first := 0
	if after != "" {
		if _, err := fmt.Sscanf(after, "key-%d", &first); err != nil {
			return routing.Page{}, err
		}
		first++
	}
	page := routing.Page{Revision: uint64(m.n)}
	for i := first; i < m.n && len(page.Placements) < limit; i++ {
		page.Placements = append(page.Placements, routing.Placement{
			Key: fmt.Sprintf("key-%022d", i), EnclaveID: fmt.Sprint("enclave-", i%4), Version: uint64(i + 1), AsOf: page.Revision,
		})
	}
	page.More = first+len(page.Placements) < m.n
	return page, nil
}

// Watch implements routing.Directory.
func (m made) Watch(ctx context.Context, _ uint64) iter.Seq2[routing.Change, error] {
	return func(yield func(routing.Change, error) bool) {
		kind := routing.ChangeReset
		for yield(routing.Change{Kind: kind, Revision: uint64(m.n)}, nil) {
			kind = routing.ChangeProgress
			select {
			case <-time.After(routing.ProgressInterval):
			case <-ctx.Done():
				yield(routing.Change{}, ctx.Err())
				return
			}
		}
	}
}

// heap is what is in use, after everything else has been collected.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// memory measures what keys in memory cost.
func (b *bench) memory(ctx context.Context) error {
	before := heap()
	began := time.Now()
	p := routing.NewPlaced(routing.NewRendezvous(), made{n: b.cached}, routing.WithMirror(), routing.WithCacheSize(2*b.cached))
	defer p.Close()
	if err := p.Ready(ctx); err != nil {
		return err
	}
	took := time.Since(began)
	used := heap() - before
	kept := p.Stats().Kept
	if kept < b.cached*99/100 {
		return fmt.Errorf("%d keys of %d are kept", kept, b.cached)
	}
	b.add(fmt.Sprintf("memory for %s keys of 26 bytes", count(float64(b.cached))), fmt.Sprintf("%.0f bytes a key, the key's own included; filled in %.1f s", float64(used)/float64(kept), took.Seconds()),
		"%.0f MiB", float64(used)/(1<<20))
	return nil
}
