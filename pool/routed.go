package pool

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/enclavepool/enclavepool/routing"
)

// Routed returns a drop-in for *grpc.ClientConn whose calls go to the enclave
// that sel chooses for the key that routing.WithKey put into their context.
//
// A call of which nothing has been sent follows the selector: when its enclave
// drops out while it waits, the selector is asked again, with a View that shows
// so, and the call goes where it says. A selector that insists on an enclave
// (routing.ErrOwnerUnavailable) is obeyed: the call queues there for as long as
// callers do while connections are lost, up to Reconnect.Budget.
//
// A selector's errors become *Error: ErrOwnerUnavailable is ErrUnavailable or
// ErrDraining with RetryAfter, ErrNoMember and routing.ErrDirectoryUnavailable are
// ErrUnavailable, routing.ErrNoKey and routing.ErrNotPlaced stay as they are, with
// codes InvalidArgument and NotFound. Any other is the Cause of one with Reason
// ErrSelector. A nil selector makes every call fail so.
func (p *Pool) Routed(sel routing.Selector) grpc.ClientConnInterface {
	return routed{p, sel}
}

type routed struct {
	pool     *Pool
	selector routing.Selector
}

func (r routed) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx, cancel := withDeadline(ctx, time.Duration(r.pool.requestTimeout.Load()))
	defer cancel()
	idempotent := func(e *enclave) bool {
		return e.configRetries && e.channel.MaxAttempts(method, codes.Unavailable) > 1
	}
	return r.follow(ctx, idempotent, func(e *enclave, p patience) error {
		l, err := r.pool.lease(ctx, e, e.patience(p, method, opts))
		if err != nil {
			return err
		}
		l.state.Store(leaseBusy)
		defer l.finish()
		return l.enclave().invoke(&call{Context: ctx, lease: l, patience: p}, method, args, reply, opts)
	})
}

func (r routed) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (s grpc.ClientStream, err error) {
	limited, cancel := withDeadline(ctx, time.Duration(r.pool.requestTimeout.Load()))
	defer cancel()
	never := func(*enclave) bool { return false }
	err = r.follow(limited, never, func(e *enclave, p patience) error {
		// The stream outlives this function, so it has a context of its own.
		ctx, cancel := sameDeadline(ctx, limited)
		l, err := r.pool.lease(ctx, e, e.patience(p, method, opts))
		if err != nil {
			cancel()
			return err
		}
		l.state.Store(leaseBusy)
		s, err = l.enclave().newStream(&call{Context: ctx, lease: l, patience: p}, cancel, l.finish, desc, method, opts)
		return err
	})
	return s, err
}

// sameDeadline returns ctx with the deadline of limited.
func sameDeadline(ctx, limited context.Context) (context.Context, context.CancelFunc) {
	if d, ok := limited.Deadline(); ok {
		return context.WithDeadline(ctx, d)
	}
	return context.WithCancel(ctx)
}

// follow lets do try the enclaves that the selector chooses, one after another,
// until one has not failed unsent or the selector has no other. A call that is
// idempotent, and was lost where there is no connection left to repeat it on, is
// as good as unsent.
func (r routed) follow(ctx context.Context, idempotent func(*enclave) bool, do func(*enclave, patience) error) error {
	key, _ := routing.KeyFrom(ctx)
	var last *enclave
	var failure, unknown error
	for range len(r.pool.all()) + 1 {
		e, patience, err := r.choose(ctx, key)
		switch {
		case err != nil && failure != nil:
			return failure // the selector only knows that there is no other
		case err != nil:
			return err
		case e == last && !errors.Is(failure, ErrUnavailable):
			return failure
		case e == last:
			patience = untilBudget // nowhere else to go
		}
		failure = afterUnknown(do(e, patience), unknown)
		switch {
		case failure == nil || patience != notAtAll:
			return failure
		case unsent(failure):
		case stranded(failure) && idempotent(e):
			unknown = failure
		default:
			return failure
		}
		last = e
	}
	return failure
}

// choose asks the selector. A call for an enclave that is merely chosen leaves
// again when it drops out; one for a key's only home waits there.
func (r routed) choose(ctx context.Context, key string) (*enclave, patience, error) {
	if r.selector == nil {
		return nil, 0, &Error{Reason: ErrSelector, Cause: errors.New("it is nil")}
	}
	v := r.pool.views.recent(r.pool)
	e, p, err := r.chooseFrom(ctx, v, key)
	var unknown *Error
	if errors.As(err, &unknown) && unknown.Reason == ErrUnknownEnclave {
		if _, ok := v.Member(unknown.EnclaveID); ok { // it has just been removed
			return r.chooseFrom(ctx, r.pool.View(), key)
		}
	}
	return e, p, err
}

func (r routed) chooseFrom(ctx context.Context, v *routing.View, key string) (*enclave, patience, error) {
	id, err := r.selector.Select(ctx, v, key)
	p := notAtAll
	if err != nil {
		var owner *routing.OwnerError
		if !errors.As(err, &owner) || owner.EnclaveID == "" {
			return nil, 0, selectorError(ctx, err)
		}
		if owner.Gone {
			return nil, 0, &Error{EnclaveID: owner.EnclaveID, Reason: ErrUnavailable, RetryAfter: owner.RetryAfter, Cause: err}
		}
		id, p = owner.EnclaveID, untilBudget
	}
	e, err := r.pool.enclave(id)
	return e, p, err
}

// unsent tells whether a call may be made on another enclave without having
// been made twice.
func unsent(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.Disposition != NotSent {
		return false
	}
	return e.Reason == ErrUnavailable || e.Reason == ErrDraining || e.Reason == ErrExhausted || e.Reason == ErrUnknownEnclave
}

// stranded tells whether err is that of a call that was sent, and then found no
// connection to be repeated on.
func stranded(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == ErrUnavailable && e.Disposition == Unknown && e.RetryAfter > 0
}

// selectorError translates what a Selector says.
func selectorError(ctx context.Context, err error) error {
	var away *routing.DirectoryError
	switch {
	case errors.As(err, &away):
		return &Error{Reason: ErrUnavailable, RetryAfter: away.RetryAfter, Cause: err}
	case errors.Is(err, routing.ErrNotPlaced):
		return &Error{Reason: routing.ErrNotPlaced}
	case errors.Is(err, routing.ErrNoKey):
		return &Error{Reason: routing.ErrNoKey, Cause: errors.New("use routing.WithKey")}
	case errors.Is(err, routing.ErrNoMember):
		return &Error{Reason: ErrUnavailable, Cause: err}
	case ctx.Err() != nil:
		return &Error{Reason: ctx.Err(), Cause: err}
	}
	return &Error{Reason: ErrSelector, Cause: err}
}
