package pool

import (
	"context"
	"errors"
	"sync/atomic"
	"unsafe"

	"google.golang.org/grpc"
)

// Lease is a slot in a caller's hands: the right to have one stream open to an
// enclave. It is a grpc.ClientConnInterface, so a generated client can be made
// from it; it carries one call at a time, any number one after another. When
// its connection is lost between calls it moves to another by itself.
//
// Release it when done. A call still open then keeps the slot until it ends.
type Lease struct {
	// conn is the connection whose slot is held. Calls move it.
	conn   connPointer
	state  atomic.Uint32
	serial uint32 // of the slot that the lease was made for
}

// connPointer is an atomic pointer that is begun without an atomic store,
// which nobody needs before anybody else can see it.
type connPointer struct{ p unsafe.Pointer }

func (p *connPointer) begin(c *conn) { p.p = unsafe.Pointer(c) }
func (p *connPointer) Load() *conn   { return (*conn)(atomic.LoadPointer(&p.p)) }
func (p *connPointer) Store(c *conn) { atomic.StorePointer(&p.p, unsafe.Pointer(c)) }

const (
	leaseBusy     = 1 << iota // carries a call
	leaseReleased             // given back, or to be when the call ends
)

// leaseChunk is leases for consecutive serials of one connection, made
// together. None is used again, since a lease may be released twice. One that is
// kept keeps its chunk, half a kilobyte.
type leaseChunk [32]Lease

// lease returns the lease for a slot that has just been reserved. Whoever
// reserves has a serial of its own, so the lease made ahead for that serial is
// its own too, without another atomic operation to claim it. (A serial comes
// again after 2³² slots. The chunk is long gone then: the first lease beyond
// it has replaced it.)
func (s slot) lease() *Lease {
	chunk := s.conn.leases.Load()
	if chunk != nil {
		if l := &chunk[s.serial%uint32(len(chunk))]; l.serial == s.serial {
			return l
		}
	}
	return s.newLease(chunk)
}

// newLease is lease when the present chunk has none for the serial.
func (s slot) newLease(present *leaseChunk) *Lease {
	i := s.serial % uint32(len(present))
	begin := s.serial - i
	if present != nil && int32(begin-present[0].serial) < 0 {
		l := &Lease{serial: s.serial} // others have gone ahead
		l.conn.begin(s.conn)
		return l
	}
	chunk := new(leaseChunk)
	for j := range chunk {
		chunk[j].serial = begin + uint32(j)
		chunk[j].conn.begin(s.conn)
	}
	// Should another goroutine be quicker, this chunk serves for one lease.
	s.conn.leases.CompareAndSwap(present, chunk)
	return &chunk[i]
}

func (l *Lease) enclave() *enclave { return l.conn.Load().enclave }

// EnclaveID returns the ID of the enclave that the lease is for.
func (l *Lease) EnclaveID() string { return l.enclave().id }

// Release gives the slot back. Calling it again does nothing.
func (l *Lease) Release() {
	if s := l.state.Or(leaseReleased); s == 0 {
		l.giveBack()
	}
}

// giveBack releases the slot; whoever calls it has made sure to be the one.
func (l *Lease) giveBack() {
	conn := l.conn.Load()
	if t := conn.enclave.tracker; t != nil {
		t.remove(l)
	}
	conn.enclave.release(conn)
}

// begin marks the lease as carrying a call.
func (l *Lease) begin() error {
	for {
		s := l.state.Load()
		switch {
		case s&leaseReleased != 0:
			return &Error{EnclaveID: l.EnclaveID(), Reason: ErrLeaseReleased}
		case s&leaseBusy != 0:
			return &Error{EnclaveID: l.EnclaveID(), Reason: ErrLeaseBusy}
		case l.state.CompareAndSwap(s, s|leaseBusy):
			return nil
		}
	}
}

// end marks the call as over, and gives the slot back if that was put off.
func (l *Lease) end() {
	if s := l.state.And(^uint32(leaseBusy)); s&leaseReleased != 0 {
		l.giveBack()
	}
}

// Invoke implements grpc.ClientConnInterface: a unary call on the lease's slot.
// Without a deadline in ctx, Config.RequestTimeout is one.
func (l *Lease) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if err := l.begin(); err != nil {
		return err
	}
	defer l.end()
	ctx, cancel := l.enclave().withDeadline(ctx)
	defer cancel()
	return l.enclave().invoke(&call{Context: ctx, lease: l}, method, args, reply, opts)
}

// NewStream implements grpc.ClientConnInterface: a stream on the lease's slot.
// As with any gRPC stream, it is over when its context ends, when RecvMsg has
// returned an error (io.EOF included), or when SendMsg has failed for another
// reason than io.EOF. Without a deadline in ctx, Config.RequestTimeout is one.
func (l *Lease) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := l.begin(); err != nil {
		return nil, err
	}
	ctx, cancel := l.enclave().withDeadline(ctx)
	return l.enclave().newStream(&call{Context: ctx, lease: l}, cancel, l.end, desc, method, opts)
}

// finish is end and Release in one, for a lease that has one call only.
func (l *Lease) finish() {
	l.state.Store(leaseReleased)
	l.giveBack()
}

// Acquire reserves a slot on one of the enclave's connections. When all are
// taken it queues, first come first served, until ctx ends or AcquireTimeout
// has passed. An already expired ctx still gets a slot that is free, and fails
// at once if none is.
//
// It fails with an *Error: ErrUnknownEnclave, ErrExhausted, ErrUnavailable,
// ErrDraining, ErrClosed, or ctx's error.
func (p *Pool) Acquire(ctx context.Context, enclaveID string) (*Lease, error) {
	e, err := p.enclave(enclaveID)
	if err != nil {
		return nil, err
	}
	return p.lease(ctx, e, untilBudget)
}

// lease acquires a slot on e or, when a reload has put another in its place, on
// that.
func (p *Pool) lease(ctx context.Context, e *enclave, patience patience) (*Lease, error) {
	l, err := e.acquire(ctx, patience)
	for err != nil && e.replaced.Load() && errors.Is(err, ErrDraining) {
		if e, err = p.enclave(e.id); err != nil {
			return nil, err
		}
		l, err = e.acquire(ctx, patience)
	}
	return l, err
}

// Release is l.Release(); a nil lease is ignored.
func (p *Pool) Release(l *Lease) {
	if l != nil {
		l.Release()
	}
}
