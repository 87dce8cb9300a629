package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/boltdir"
	"github.com/enclavepool/enclavepool/routing/etcddir"
	"github.com/enclavepool/enclavepool/routing/etcddir/etcdtest"
)

// bbolt measures creates and misses on a file.
func (b *bench) bbolt(ctx context.Context) error {
	d, err := boltdir.Open(filepath.Join(b.folder, "rates.db"))
	if err != nil {
		return err
	}
	defer d.Close()
	return b.rates(ctx, "bbolt", d, 1, 16, 256)
}

// etcd measures the same on one member and on three, each with its data on this machine's disk.
func (b *bench) etcd(ctx context.Context) error {
	for _, members := range []int{1, 3} {
		c, err := b.cluster(ctx, members)
		if err != nil {
			return err
		}
		d, closing, err := connect(c)
		if err != nil {
			return err
		}
		name := "etcd, one member"
		if members > 1 {
			name = fmt.Sprintf("etcd, %d members", members)
		}
		err = b.rates(ctx, name, d, 1, 16, 256)
		closing()
		if err != nil {
			return err
		}
	}
	return nil
}

// cluster starts an etcd that ends with the run.
func (b *bench) cluster(ctx context.Context, members int) (*etcdtest.Cluster, error) {
	folder, err := os.MkdirTemp(b.folder, "etcd-")
	if err != nil {
		return nil, err
	}
	c, err := etcdtest.Start(ctx, folder, members)
	if err != nil {
		return nil, fmt.Errorf("an etcd is needed: Debian's etcd-server with ENCLAVEPOOL_ETCD=etcd, or Go and its module proxy: %w", err)
	}
	b.etcds = append(b.etcds, c)
	return c, nil
}

func connect(c *etcdtest.Cluster) (*etcddir.Directory, func(), error) {
	cfg := etcddir.Config(c.Endpoints()...)
	cfg.Logger = zap.NewNop()
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	d := etcddir.New(client, etcddir.WithTimeout(20*time.Second))
	return d, func() {
		_ = d.Close() // always nil
		_ = client.Close()
	}, nil
}

// rates measures how many new keys a second are placed, and how many that are not in memory are found, by so many callers.
func (b *bench) rates(ctx context.Context, name string, d routing.Directory, callers ...int) error {
	v := fourEnclaves()
	making := routing.WithPlacing(ctx)
	for _, n := range callers {
		p := routing.NewPlaced(routing.NewRendezvous(), d, routing.WithDirectoryTimeout(20*time.Second))
		if err := p.Ready(ctx); err != nil {
			return err
		}
		rate, err := b.rate(n, func() error { _, err := p.Select(making, v, rand.Text()); return err })
		_ = p.Close() // always nil
		if err != nil {
			return err
		}
		b.add(fmt.Sprintf("create on %s, %d callers", name, n), "recorded and durable before it is acknowledged", "%s/s", count(rate))
	}
	const known = 20_000
	names := make([]string, known)
	for i := range names {
		names[i] = rand.Text()
	}
	if err := each(known, 256, func(i int) error { _, _, err := d.Place(ctx, names[i], "a"); return err }); err != nil {
		return err
	}
	for _, n := range []int{1, 64} {
		// It keeps one place, so hardly any is found in memory.
		p := routing.NewPlaced(routing.NewRendezvous(), d, routing.WithCacheSize(1), routing.WithDirectoryTimeout(20*time.Second))
		if err := p.Ready(ctx); err != nil {
			return err
		}
		var next atomic.Int64
		rate, err := b.rate(n, func() error { _, err := p.Select(ctx, v, names[next.Add(1)%known]); return err })
		asked := p.Stats().Lookups
		_ = p.Close() // always nil
		if err != nil {
			return err
		}
		if asked < uint64(next.Load())*9/10 {
			return fmt.Errorf("of %d look-ups only %d were misses", next.Load(), asked)
		}
		b.add(fmt.Sprintf("miss on %s, %d callers", name, n), "one question each", "%s/s", count(rate))
	}
	return nil
}

// rate is how often a second callers manage to do f.
func (b *bench) rate(callers int, f func() error) (float64, error) {
	var done atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, callers)
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for time.Since(began) < b.length {
				if err := f(); err != nil {
					errs <- err
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	select {
	case err := <-errs:
		return 0, err
	default:
		return float64(done.Load()) / took.Seconds(), nil
	}
}
