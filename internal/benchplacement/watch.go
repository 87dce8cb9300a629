package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/enclavepool/enclavepool/routing"
)

// gateways is how many watch.
const gateways = 10

// watch measures how long after it was acknowledged a move is known to every one of ten gateways.
func (b *bench) watch(ctx context.Context) error {
	c, err := b.cluster(ctx, 3)
	if err != nil {
		return err
	}
	var all []*routing.Placed
	for range gateways {
		d, closing, err := connect(c)
		if err != nil {
			return err
		}
		defer closing()
		p := routing.NewPlaced(routing.NewRendezvous(), d, routing.WithMirror())
		defer p.Close()
		all = append(all, p)
	}
	for _, p := range all {
		if err := p.Ready(ctx); err != nil {
			return err
		}
	}
	d, closing, err := connect(c)
	if err != nil {
		return err
	}
	defer closing()
	at, _, err := d.Place(ctx, "k", "a")
	if err != nil {
		return err
	}
	v := fourEnclaves()
	var slowest []time.Duration
	for i := range b.moves {
		if at, err = d.Move(ctx, at, []string{"b", "a"}[i%2]); err != nil {
			return err
		}
		took, err := arrival(ctx, all, v, at.EnclaveID)
		if err != nil {
			return err
		}
		slowest = append(slowest, took)
	}
	slices.Sort(slowest)
	b.add(fmt.Sprintf("a move reaches %d gateways, etcd, 3 members", gateways), fmt.Sprintf("after it was acknowledged, until the last has it; worst of %d: %.1f ms", len(slowest), ms(slowest[len(slowest)-1])),
		"median %.1f ms, p99 %.1f ms", ms(slowest[len(slowest)/2]), ms(slowest[len(slowest)*99/100]))
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// arrival waits until all say that the key is in the enclave.
func arrival(ctx context.Context, all []*routing.Placed, v *routing.View, enclaveID string) (time.Duration, error) {
	began := time.Now()
	var wg sync.WaitGroup
	errs := make([]error, len(all))
	for i, p := range all {
		wg.Go(func() {
			for {
				id, err := p.Select(ctx, v, "k")
				switch {
				case err != nil:
					errs[i] = err
					return
				case id == enclaveID:
					return
				case time.Since(began) > 10*time.Second:
					errs[i] = fmt.Errorf("a gateway says %q for ten seconds, and it is %q", id, enclaveID)
					return
				}
				time.Sleep(20 * time.Microsecond)
			}
		})
	}
	wg.Wait()
	return time.Since(began), errors.Join(errs...)
}
