package pool

import (
	"context"
	"math/rand/v2"
	"time"
	"unsafe"
)

// Admission. A caller takes a slot with one compare-and-swap on a connection's
// word. Only when every slot is taken does it queue, under the enclave's lock,
// and from then on slots go from hand to hand in the order of arrival.
//
// No wake-up is lost. A caller that queues first announces itself (waiting
// becomes positive) and then looks once more for a free slot; a caller that
// releases first frees its slot and then reads waiting. Go's atomics are
// sequentially consistent, so of the two at least one sees the other: either
// the newcomer finds the slot, or the releaser finds the newcomer and serves
// the queue under the lock. The same holds for whoever makes new slots (a
// connection admitted, a limit raised): publish first, then serve.
//
// Nobody overtakes. While waiting is positive, callers that have just arrived
// queue too; a release then passes its slot on without freeing it in between.

// slot is a slot that has been reserved, or none.
type slot struct {
	conn   *conn // nil: none
	serial uint32
}

// acquire takes a slot, queueing if it must.
func (e *enclave) acquire(ctx context.Context, patience patience) (*Lease, error) {
	if e.tracker != nil {
		return e.acquireTracked(ctx, patience)
	}
	return e.take(ctx, patience)
}

func (e *enclave) acquireTracked(ctx context.Context, patience patience) (*Lease, error) {
	l, err := e.take(ctx, patience)
	if err == nil {
		e.tracker.add(l)
	}
	return l, err
}

func (e *enclave) take(ctx context.Context, patience patience) (*Lease, error) {
	if e.waiting.Load() == 0 {
		if s := e.reserve(nil); s.conn != nil {
			if e.dozing.Load() {
				e.wakeKeeper()
			}
			e.metrics.acquired(ctx, 0)
			return s.lease(), nil
		}
	}
	s, err := e.acquireQueued(ctx, patience)
	if err != nil {
		return nil, err
	}
	return s.lease(), nil
}

// reserve takes a slot on any connection but except: on the caller's own
// favourite if that is idle, else on the better of two chosen at random or,
// failing that, on the first with a free one. The favourite keeps a
// connection's word in one core's cache. Choosing by random and by load
// together is Mitzenmacher's "power of two choices" (2001); reserving at once
// keeps two callers from choosing on the same stale count.
func (e *enclave) reserve(except *conn) slot {
	conns := *e.admitted.Load()
	n := uint32(len(conns))
	if n == 0 {
		return slot{}
	}
	if c := conns[below(stackHash(), n)]; c != except {
		if w := c.slots.word.Load(); inUse(w) == 0 {
			if serial, ok := c.slots.reserve(w); ok {
				return slot{c, serial}
			}
		}
	}
	r := rand.Uint64()
	i := below(uint32(r), n)
	best, other := conns[i], conns[below(uint32(r>>32), n)]
	w, v := best.slots.word.Load(), other.slots.word.Load()
	if inUse(v) < inUse(w) {
		best, w = other, v
	}
	if best != except {
		if serial, ok := best.slots.reserve(w); ok {
			if (inUse(w)+1)*4 > limitOf(w)*3 {
				e.press()
			}
			return slot{best, serial}
		}
	}
	e.press()
	for range n {
		if c := conns[i]; c != except {
			if serial, ok := c.slots.reserve(c.slots.word.Load()); ok {
				return slot{c, serial}
			}
		}
		if i++; i == n {
			i = 0
		}
	}
	return slot{}
}

// stackHash tells goroutines apart, cheaply and roughly: by where their stacks
// are. It is the same from call to call unless the stack has moved. A true
// per-core hint needs the runtime's internals or a sync.Pool; this costs a
// multiplication.
func stackHash() uint32 {
	var here byte
	return uint32(uint64(uintptr(unsafe.Pointer(&here))>>11) * 0x9e3779b97f4a7c15 >> 32)
}

// below maps r evenly to 0..n-1 (Lemire 2019, without the correction that
// matters only for n near 2³²).
func below(r, n uint32) uint32 { return uint32(uint64(r) * uint64(n) >> 32) }

// release gives the slot on conn back, to the oldest waiter if there is one.
func (e *enclave) release(conn *conn) {
	if e.waiting.Load() > 0 && e.passOn(conn) {
		return
	}
	conn.slots.release()
	if e.waiting.Load() > 0 {
		e.serve()
	}
}

// passOn hands the slot on conn to the oldest waiter; false: nobody waits any
// more, or conn admits no one.
func (e *enclave) passOn(conn *conn) bool {
	e.mu.Lock()
	w := e.queue.first()
	if w == nil {
		e.mu.Unlock()
		return false
	}
	serial, ok := conn.slots.pass()
	if !ok {
		e.mu.Unlock()
		return false
	}
	var d deliveries
	e.deliverLocked(&d, w, slot{conn, serial}, nil)
	e.mu.Unlock()
	e.tell(&d)
	return true
}

// serve hands free slots to waiters for as long as there are both.
func (e *enclave) serve() {
	var d deliveries
	e.mu.Lock()
	for w := e.queue.first(); w != nil; w = e.queue.first() {
		s := e.reserve(nil)
		if s.conn == nil {
			break
		}
		e.deliverLocked(&d, w, s, nil)
	}
	e.checkQuietLocked()
	e.mu.Unlock()
	e.tell(&d)
}

// acquireQueued is acquire when no slot was free, or others were first.
func (e *enclave) acquireQueued(ctx context.Context, patience patience) (slot, error) {
	e.mu.Lock()
	if err := e.refusalLocked(patience); err != nil {
		e.mu.Unlock()
		return slot{}, err
	}
	if e.queue.len() == 0 {
		e.waiting.Add(1) // announced; now the look that comes after it
		if s := e.reserve(nil); s.conn != nil {
			e.attendLocked()
			e.mu.Unlock()
			e.metrics.acquired(ctx, 0)
			return s, nil
		}
	}
	waiters := e.queue.len()
	if err := ctx.Err(); err != nil {
		e.attendLocked()
		e.mu.Unlock()
		return slot{}, e.gaveUp(err, 0)
	}
	yielded := e.yieldWarm() // an idle stream's slot is on its way to the queue
	if waiters >= e.cfg.Load().maxWaiters && !yielded {
		e.attendLocked()
		e.mu.Unlock()
		return slot{}, e.exhaustedError(waiters, 0)
	}
	w := e.waiters.Get().(*waiter)
	w.patience = patience
	e.queue.push(w)
	e.attendLocked()
	e.mu.Unlock()
	if !yielded {
		e.crowded(false)
	}
	return e.wait(ctx, w)
}

// wait waits until w is served, or gives up its place.
func (e *enclave) wait(ctx context.Context, w *waiter) (slot, error) {
	start := time.Since(e.began) // half the price of a time.Now
	var timeout <-chan time.Time
	if e.cfg.Load().acquireTimeout > 0 {
		timer := time.NewTimer(e.cfg.Load().acquireTimeout)
		defer timer.Stop()
		timeout = timer.C
	}
	var gaveUp error
	if done := ctx.Done(); done == nil && timeout == nil {
		<-w.served // cheaper than a select with one case
	} else {
		select {
		case <-w.served:
		case <-done:
			gaveUp = ctx.Err()
		case <-timeout:
			gaveUp = ErrExhausted
		}
	}
	if gaveUp != nil {
		e.mu.Lock()
		queued := e.queue.remove(w)
		waiters := e.queue.len()
		e.attendLocked()
		e.mu.Unlock()
		if queued {
			e.recycle(w)
			waited := time.Since(e.began) - start
			e.metrics.waited(ctx, waited)
			if gaveUp == ErrExhausted {
				return slot{}, e.exhaustedError(waiters, waited)
			}
			return slot{}, e.gaveUp(gaveUp, waited)
		}
		// Served at the same moment, so the signal is on its way. A slot is
		// kept, since it is what the caller wanted.
		<-w.served
	}
	s, err := w.slot, w.err
	e.recycle(w)
	e.metrics.waited(ctx, time.Since(e.began)-start)
	return s, err
}

// recycle keeps w for the next caller that has to wait.
func (e *enclave) recycle(w *waiter) {
	w.next, w.patience, w.slot, w.err = nil, 0, slot{}, nil
	e.waiters.Put(w)
}

// inFlight returns how many slots of the enclave are taken, those of
// connections that admit no more included.
func (e *enclave) inFlight() int {
	n := 0
	for _, conns := range []*[]*conn{e.open.Load(), e.orphans.Load()} {
		for _, c := range *conns {
			used, _ := c.slots.load()
			n += int(used)
		}
	}
	return n
}
