package main

import (
	"context"
	"sync/atomic"

	"github.com/jackc/puddle/v2"

	"github.com/enclavepool/enclavepool/pool"
)

// contender takes something that is counted, and gives it back.
type contender struct {
	name string
	loop loop
}

// atomicFloor is what any admission that counts has to pay.
func atomicFloor() contender {
	var word struct {
		_ [64]byte
		n atomic.Uint64
		_ [64]byte
	}
	return contender{"one atomic add + sub", func(n int) error {
		for range n {
			word.n.Add(1)
			word.n.Add(^uint64(0))
		}
		return nil
	}}
}

// acquireByID is what a caller of the library does.
func acquireByID(p *pool.Pool) contender {
	ctx := context.Background()
	return contender{"pool, Acquire + Release by enclave ID", func(n int) error {
		for range n {
			l, err := p.Acquire(ctx, enclaveID)
			if err != nil {
				return err
			}
			l.Release()
		}
		return nil
	}}
}

// channelPool is the pool that everyone writes first.
func channelPool(size int) contender {
	ch := make(chan *int, size)
	for range size {
		ch <- new(int)
	}
	return contender{"buffered channel", func(n int) error {
		for range n {
			ch <- <-ch
		}
		return nil
	}}
}

// newPuddle returns a puddle whose resources are all there.
func newPuddle(size int) (*puddle.Pool[int], error) {
	p, err := puddle.NewPool(&puddle.Config[int]{
		Constructor: func(context.Context) (int, error) { return 0, nil },
		Destructor:  func(int) {},
		MaxSize:     int32(size),
	})
	if err != nil {
		return nil, err
	}
	for range size {
		if err := p.CreateResource(context.Background()); err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

func puddleContender(p *puddle.Pool[int]) contender {
	ctx := context.Background()
	return contender{"puddle v2.2.3", func(n int) error {
		for range n {
			r, err := p.Acquire(ctx)
			if err != nil {
				return err
			}
			r.Release()
		}
		return nil
	}}
}
