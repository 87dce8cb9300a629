package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/boltdir"
)

// large fills a file with many keys, and measures what it then costs to start: opening it, the first questions, and reading
// all of it into memory.
func (b *bench) large(ctx context.Context) error {
	path := filepath.Join(b.folder, "large.db")
	defer os.Remove(path)
	d, err := boltdir.Open(path)
	if err != nil {
		return err
	}
	began := time.Now()
	// In the order of the names, so that a commit touches few pages.
	err = each(b.keys, 1024, func(i int) error {
		_, _, err := d.Place(ctx, name(i), fmt.Sprint("enclave-", i%4))
		return err
	})
	took := time.Since(began)
	if err == nil {
		var rate float64
		v := fourEnclaves()
		p := routing.NewPlaced(routing.NewRendezvous(), d)
		rate, err = b.rate(256, func() error { _, err := p.Select(routing.WithPlacing(ctx), v, rand.Text()); return err })
		_ = p.Close() // always nil
		b.add(fmt.Sprintf("create on bbolt with %s keys, 256 callers", count(float64(b.keys))), "names in no order", "%s/s", count(rate))
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	b.add(fmt.Sprintf("%s keys on bbolt", count(float64(b.keys))), fmt.Sprintf("placed one by one in the order of their names, in %.0f s", took.Seconds()), "%.0f MiB", float64(info.Size())/(1<<20))

	began = time.Now()
	if d, err = boltdir.Open(path); err != nil {
		return err
	}
	defer d.Close()
	b.add("cold start: open the file", "", "%.0f ms", ms(time.Since(began)))
	v := routing.NewView(1, routing.Member{ID: "enclave-0"}, routing.Member{ID: "enclave-1"}, routing.Member{ID: "enclave-2"}, routing.Member{ID: "enclave-3"})
	p := routing.NewPlaced(routing.NewRendezvous(), d)
	began = time.Now()
	const first = 10_000
	for range first {
		if _, err := p.Select(ctx, v, name(mathrand.IntN(b.keys))); err != nil {
			return err
		}
	}
	b.add("cold start: each of the first 10 000 keys", "without a mirror the gateway serves at once; the file is in the system's cache", "%.1f µs", float64(time.Since(began).Nanoseconds())/first/1000)
	_ = p.Close() // always nil

	before := heap()
	began = time.Now()
	mirror := routing.NewPlaced(routing.NewRendezvous(), d, routing.WithMirror(), routing.WithCacheSize(2*b.keys))
	defer mirror.Close()
	if err := mirror.Ready(ctx); err != nil {
		return err
	}
	took = time.Since(began)
	b.add("cold start: all of them into memory (mirror)", fmt.Sprintf("%s keys/s", count(float64(b.keys)/took.Seconds())), "%.1f s, %.0f MiB", took.Seconds(), float64(heap()-before)/(1<<20))
	return nil
}

func name(i int) string { return fmt.Sprintf("key-%022d", i) }
