package pool

import (
	"context"

	"google.golang.org/grpc"
)

// Conn returns a drop-in for *grpc.ClientConn, to make generated clients from:
// every RPC acquires a slot, is made, and gives the slot back when it is over.
// An ID that the pool does not know makes every RPC fail with
// ErrUnknownEnclave. It costs nothing and may be called per request.
func (p *Pool) Conn(enclaveID string) grpc.ClientConnInterface {
	return clientConn{p, enclaveID}
}

type clientConn struct {
	pool      *Pool
	enclaveID string
}

// acquire is Pool.Acquire for a call whose options are known already.
func (cc clientConn) acquire(ctx context.Context, method string, opts []grpc.CallOption) (*Lease, context.Context, context.CancelFunc, error) {
	e, err := cc.pool.enclave(cc.enclaveID)
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := e.withDeadline(ctx)
	l, err := cc.pool.lease(ctx, e, e.patience(untilBudget, method, opts))
	if err != nil {
		cancel()
		return nil, nil, nil, err
	}
	l.state.Store(leaseBusy)
	return l, ctx, cancel, nil
}

func (cc clientConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	l, ctx, cancel, err := cc.acquire(ctx, method, opts)
	if err != nil {
		return err
	}
	defer cancel()
	defer l.finish()
	return l.enclave().invoke(&call{Context: ctx, lease: l}, method, args, reply, opts)
}

func (cc clientConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	l, ctx, cancel, err := cc.acquire(ctx, method, opts)
	if err != nil {
		return nil, err
	}
	return l.enclave().newStream(&call{Context: ctx, lease: l}, cancel, l.finish, desc, method, opts)
}
