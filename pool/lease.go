package pool

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
)

// Lease is a slot in a caller's hands: the right to have one stream open to an
// enclave. It is a grpc.ClientConnInterface, so a generated client can be made
// from it; it carries one call at a time, any number one after another. When
// its connection is lost between calls it moves to another by itself.
//
// Release it when done. A call still open then keeps the slot until it ends.
type Lease struct {
	enclave *enclave
	// conn is the connection whose slot is held. Calls move it.
	conn  atomic.Pointer[conn]
	state atomic.Uint32
}

const (
	leaseBusy     = 1 << iota // carries a call
	leaseReleased             // given back, or to be when the call ends
)

// leaseChunk is leases made together, to be handed out one by one and never
// again: a lease may be released twice, so none is reused. One that is kept
// keeps its chunk, under a kilobyte.
type leaseChunk struct {
	leases [32]Lease
	used   int
}

// newLease returns a lease that has no slot yet.
func (e *enclave) newLease() *Lease {
	chunk, _ := e.chunks.Get().(*leaseChunk)
	if chunk == nil {
		chunk = new(leaseChunk)
	}
	l := &chunk.leases[chunk.used]
	if chunk.used++; chunk.used < len(chunk.leases) {
		e.chunks.Put(chunk)
	}
	l.enclave = e
	return l
}

// EnclaveID returns the ID of the enclave that the lease is for.
func (l *Lease) EnclaveID() string { return l.enclave.id }

// Release gives the slot back. Calling it again does nothing.
func (l *Lease) Release() {
	if s := l.state.Or(leaseReleased); s == 0 {
		l.giveBack()
	}
}

// giveBack releases the slot; whoever calls it has made sure to be the one.
func (l *Lease) giveBack() {
	if t := l.enclave.tracker; t != nil {
		t.remove(l)
	}
	l.enclave.release(l.conn.Load())
}

// begin marks the lease as carrying a call.
func (l *Lease) begin() error {
	for {
		s := l.state.Load()
		switch {
		case s&leaseReleased != 0:
			return &Error{EnclaveID: l.enclave.id, Reason: ErrLeaseReleased}
		case s&leaseBusy != 0:
			return &Error{EnclaveID: l.enclave.id, Reason: ErrLeaseBusy}
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
	ctx, cancel := l.enclave.withDeadline(ctx)
	defer cancel()
	return l.enclave.invoke(&call{Context: ctx, lease: l}, method, args, reply, opts)
}

// NewStream implements grpc.ClientConnInterface: a stream on the lease's slot.
// As with any gRPC stream, it is over when its context ends, when RecvMsg has
// returned an error (io.EOF included), or when SendMsg has failed for another
// reason than io.EOF. Without a deadline in ctx, Config.RequestTimeout is one.
func (l *Lease) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := l.begin(); err != nil {
		return nil, err
	}
	ctx, cancel := l.enclave.withDeadline(ctx)
	return l.enclave.newStream(&call{Context: ctx, lease: l}, cancel, l.end, desc, method, opts)
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
	l := e.newLease()
	if err := e.acquire(ctx, l, false); err != nil {
		return nil, err
	}
	return l, nil
}

// Release is l.Release(); a nil lease is ignored.
func (p *Pool) Release(l *Lease) {
	if l != nil {
		l.Release()
	}
}
