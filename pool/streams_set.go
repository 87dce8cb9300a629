package pool

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// warmSet is the warm streams of one Streams to one enclave. Idle ones are a
// stack, so that the few that the load needs stay hot and the rest can be told
// by never having been on top. The lock is held for a handful of instructions,
// never across a send, a dial or a lock of the enclave.
type warmSet struct {
	owner  *warmStreams
	e      *enclave
	opts   streamOptions
	ctx    context.Context // of every stream
	cancel context.CancelFunc
	empty  chan struct{} // closed when it is closed and the last stream has gone
	wake   chan struct{} // the keeping goroutine has something to look at

	// all are the open streams. It is replaced, never changed, under mu.
	all   atomic.Pointer[[]*warmStream]
	past  atomic.Uint64 // exchanges on streams that are no longer open
	sweep sweeper

	mu       sync.Mutex
	idle     []*warmStream // the hottest last
	places   int           // open streams and those being opened; at most opts.max
	opening  int           // of these, the ones opened ahead of need
	low      int           // how many at the bottom of idle have not been used this period
	resting  bool          // nothing is opened ahead of need for the time being
	failures int           // in a row, of opening ahead of need
	line     streamLine
	closed   bool
	over     bool // empty has been closed

	opened, retired uint64

	// The keeping goroutine's.
	restUntil time.Time
	expireAt  time.Time
}

// warmStream is one open stream.
type warmStream struct {
	set    *warmSet
	rpc    any // a grpc.BidiStreamingClient of the Streams' types
	lease  *Lease
	cancel context.CancelFunc // resets the stream
	used   atomic.Uint64      // exchanges begun
	watch  watch
	// yielding: somebody waits for its slot, which is on its way.
	yielding atomic.Bool
	doomed   atomic.Bool // its connection is lost
}

func newWarmSet(ws *warmStreams, e *enclave) *warmSet {
	t := &warmSet{
		owner: ws, e: e, opts: ws.opts,
		empty: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.all.Store(new([]*warmStream))
	t.sweep.init(t)
	return t
}

// kick has the keeping goroutine look.
func (t *warmSet) kick() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// pop takes an idle stream; nil: there is none that may be used.
func (t *warmSet) pop(ctx context.Context) *warmStream {
	t.mu.Lock()
	s := t.popLocked()
	t.mu.Unlock()
	if s != nil {
		t.e.metrics.acquired(ctx, 0)
	}
	return s
}

func (t *warmSet) popLocked() *warmStream {
	for n := len(t.idle) - 1; n >= 0; n-- {
		s := t.idle[n]
		if !s.welcome() {
			continue // the keeping goroutine is about to close it
		}
		t.idle = slices.Delete(t.idle, n, n+1)
		t.low = min(t.low, n)
		if len(t.idle) == 0 && t.opening == 0 && !t.resting && t.places < t.opts.max && t.opts.min > 0 {
			t.kick() // for one more, ahead of need
		}
		return s
	}
	return nil
}

// welcome tells whether s may be used, and wait idle: its connection admits
// callers, and no more than its limit. A server that allows a single stream
// keeps it for probes while it is idle.
func (s *warmStream) welcome() bool {
	c := s.lease.conn.Load()
	used, limit := c.slots.load()
	return used <= limit && limit > 0 && (limit > 1 || !c.crowded())
}

// spent tells whether s is to be closed after its exchange: it has had its
// number of them, or its connection admits no more.
func (s *warmStream) spent() bool {
	n := s.set.opts.maxExchanges
	_, limit := s.lease.conn.Load().slots.load()
	return limit == 0 || n > 0 && s.used.Load() >= uint64(n)
}

// put takes a stream back, for the oldest caller who waits for one or to wait
// idle. While others than its own callers wait for a slot it is closed, so
// that its slot goes to the oldest of them all.
func (t *warmSet) put(s *warmStream) {
	t.mu.Lock()
	if t.closed || !s.welcome() {
		t.dropAndUnlock(s)
		return
	}
	if w := t.line.first(); w != nil {
		if int(t.e.waiting.Load()) > t.line.opening {
			t.dropAndUnlock(s)
			return
		}
		t.serveLocked(w, s)
		t.mu.Unlock()
		return
	}
	t.idle = append(t.idle, s)
	t.mu.Unlock()
	// Announced; now the look: either this sees who waits for a slot, or they
	// see the stream.
	if t.e.waiting.Load() > 0 {
		t.yield()
	}
}

// adopt counts a stream that has been opened; false: the set has been closed.
func (t *warmSet) adopt(s *warmStream) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	all := append(slices.Clone(*t.all.Load()), s)
	t.all.Store(&all)
	t.opened++
	if t.places > t.opts.min {
		t.kick() // it will have to go again
	}
	return true
}

// discard forgets a stream that has failed.
func (t *warmSet) discard(s *warmStream) {
	t.mu.Lock()
	t.dropAndUnlock(s)
}

// dropAndUnlock forgets s, which is not idle, and ends it.
func (t *warmSet) dropAndUnlock(s *warmStream) {
	t.forgetLocked(s)
	t.vacateLocked()
	t.mu.Unlock()
	t.kick()
	s.end()
}

func (t *warmSet) forgetLocked(s *warmStream) {
	all := slices.DeleteFunc(slices.Clone(*t.all.Load()), func(o *warmStream) bool { return o == s })
	t.past.Add(s.used.Load())
	t.all.Store(&all)
	t.retired++
}

// vacateLocked gives a place up, to the oldest caller who waits for one.
func (t *warmSet) vacateLocked() {
	if w := t.line.firstIdle(); w != nil && !t.closed {
		w.open = true
		t.line.remove(w)
		w.served <- struct{}{}
		return
	}
	t.places--
	t.checkEmptyLocked()
}

func (t *warmSet) vacate() {
	t.mu.Lock()
	t.vacateLocked()
	t.mu.Unlock()
}

// end resets the stream, if it has not ended, and gives its slot back when
// gRPC has let go of it.
func (s *warmStream) end() {
	s.cancel()
	s.lease.Release()
}

// yield closes the coldest idle stream whose slot somebody else can have.
func (t *warmSet) yield() bool {
	t.mu.Lock()
	for i, s := range t.idle {
		if !s.welcome() {
			continue // it goes anyway
		}
		t.resting = true // what is opened now would only have to yield again
		t.takeLocked(i)
		t.forgetLocked(s)
		t.vacateLocked()
		t.mu.Unlock()
		t.kick()
		s.yielding.Store(true)
		t.e.yielding.Add(1)
		// Not here: the enclave's lock may be held, and a stream that is over
		// already gives its slot back at once.
		go func() {
			s.end()
			if s.lease.state.Load()&leaseBusy == 0 {
				s.yielded()
			}
		}()
		return true
	}
	t.mu.Unlock()
	return false
}

// yielded is called when the slot of s has come back.
func (s *warmStream) yielded() {
	if s.yielding.Swap(false) {
		s.set.e.yielding.Add(-1)
	}
}

// takeLocked takes the idle stream at i out of the stack.
func (t *warmSet) takeLocked(i int) *warmStream {
	s := t.idle[i]
	t.idle = slices.Delete(t.idle, i, i+1)
	if i < t.low {
		t.low--
	}
	return s
}

// idleNow returns how many streams are idle.
func (t *warmSet) idleNow() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.idle)
}

// exchanges returns how many exchanges have ever begun.
func (t *warmSet) exchanges() uint64 {
	n := t.past.Load()
	for _, s := range *t.all.Load() {
		n += s.used.Load()
	}
	return n
}
