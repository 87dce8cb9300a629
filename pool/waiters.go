package pool

// waiter is one caller in an enclave's queue. Its links are in itself, so
// that leaving from the middle costs nothing.
type waiter struct {
	prev, next *waiter
	queued     bool
	// served gets one value once slot or err is set. Capacity 1, so that
	// whoever serves never waits for the waiter.
	served   chan struct{}
	patience patience
	slot     slot
	err      error
	// stranded is a call that is inside gRPC already, with a slot on a
	// connection that was lost before anything was sent. Nobody reads served;
	// the channel is refreshed instead, and gRPC asks again.
	stranded *call
}

// waitQueue is a list of waiters, oldest first. The enclave's lock guards it.
type waitQueue struct {
	head, tail *waiter
	n          int
}

func (q *waitQueue) len() int       { return q.n }
func (q *waitQueue) first() *waiter { return q.head }

// push adds w at the end.
func (q *waitQueue) push(w *waiter) { q.insert(w, q.tail, nil) }

// pushFront adds w at the head: it had a slot before anyone here.
func (q *waitQueue) pushFront(w *waiter) { q.insert(w, nil, q.head) }

func (q *waitQueue) insert(w, prev, next *waiter) {
	w.prev, w.next, w.queued = prev, next, true
	if prev != nil {
		prev.next = w
	} else {
		q.head = w
	}
	if next != nil {
		next.prev = w
	} else {
		q.tail = w
	}
	q.n++
}

// remove takes w out; false if it is not in the queue any more.
func (q *waitQueue) remove(w *waiter) bool {
	if !w.queued {
		return false
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.tail = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.n--
	return true
}

// deliveries are waiters that have been served or refused, and are told once
// the lock is released: waking somebody takes longer than all else done under it.
type deliveries struct {
	first   *waiter // linked by next
	refresh bool    // calls inside gRPC have to ask again
}

// deliverLocked takes w out of the queue and gives it s or err.
func (e *enclave) deliverLocked(d *deliveries, w *waiter, s slot, err error) {
	e.queue.remove(w)
	e.attendLocked()
	c := w.stranded
	if c == nil {
		w.slot, w.err = s, err
		w.next, d.first = d.first, w
		return
	}
	if s.conn != nil {
		c.lease.conn.Load().slots.release() // lost: nobody can be given it
		c.lease.conn.Store(s.conn)
	}
	c.stranding, c.strandErr = nil, err
	d.refresh = true
}

// tell wakes those who were served. It is called without the lock.
func (e *enclave) tell(d *deliveries) {
	for w := d.first; w != nil; {
		next := w.next // w may be somebody else's as soon as it is told
		w.served <- struct{}{}
		w = next
	}
	if d.refresh {
		e.channel.Refresh()
	}
}

// patience is how long a caller waits for an enclave that has lost every
// connection.
type patience int8

const (
	notAtAll     patience = iota - 1 // it has somewhere else to go
	untilBudget                      // as long as Reconnect.Budget; the default
	untilContext                     // WaitForReady: as long as its context
)

// refuseLocked gives err to every waiter that is no more patient than most.
func (e *enclave) refuseLocked(d *deliveries, err error, most patience) {
	for w := e.queue.first(); w != nil; {
		next := w.next
		if w.patience <= most {
			e.deliverLocked(d, w, slot{}, err)
		}
		w = next
	}
}

// attendLocked makes releases look at the queue exactly while there is
// something for them to do. Only warm streams want to know how many wait;
// without them the number is left alone while it stays positive, since all
// cores read it.
func (e *enclave) attendLocked() {
	n := int32(e.queue.len())
	if e.quiet != nil && !e.quiet.over {
		n++
	}
	was := e.waiting.Load()
	if was != n && (was == 0 || n == 0 || len(e.warmSets()) > 0) {
		e.waiting.Store(n)
	}
}
