package main

import (
	"context"
	"sync/atomic"

	"github.com/jackc/puddle/v2"

	"github.com/enclavepool/enclavepool/pool"
)

// contender takes something that is counted, and gives it back.
type contender struct {
	name  string
	loop  loop
	floor bool // no pool: what one has to pay, measured in one goroutine
}

// atomicFloor is what any admission that counts has to pay.
func atomicFloor() contender {
	var word struct {
		_ [64]byte
		n atomic.Uint64
		_ [64]byte
	}
	return contender{name: "one atomic add + sub", loop: func(n int) error {
		for range n {
			word.n.Add(1)
			word.n.Add(^uint64(0))
		}
		return nil
	}}
}

// leaseFloor is what a lease has to pay that may be released twice, by two
// goroutines at once: it is reserved, marked as released, given back.
func leaseFloor() contender {
	var word, state struct {
		_ [64]byte
		n atomic.Uint64
		_ [64]byte
	}
	return contender{floor: true, name: "three atomics: reserve, mark, give back", loop: func(n int) error {
		for range n {
			word.n.Add(1)
			state.n.Or(1)
			word.n.Add(^uint64(0))
		}
		return nil
	}}
}

// allocationFloor is the least that a lease made by itself costs: an object of
// two words, one of them a pointer.
func allocationFloor() contender {
	type lease struct {
		_ *int
		_ uint64
	}
	return contender{floor: true, name: "one allocation of 16 bytes", loop: func(n int) error {
		kept := make([]*lease, min(n, 8)) // so that the compiler cannot leave it out
		for i := range n {
			kept[i%len(kept)] = &lease{}
		}
		return nil
	}}
}

// acquireByID is what a caller of the library does.
func acquireByID(p *pool.Pool) contender {
	ctx := context.Background()
	return contender{name: "pool, Acquire + Release by enclave ID", loop: func(n int) error {
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
	return contender{name: "buffered channel", loop: func(n int) error {
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
	return contender{name: "puddle v2.2.3", loop: func(n int) error {
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
