package pool

import (
	"context"
	"time"

	"github.com/enclavepool/enclavepool/routing"
)

// RoutedStreams are Streams whose exchanges go to the enclave that a selector
// chooses.
type RoutedStreams[Req, Res any] struct {
	streams  *warmStreams
	selector routing.Selector
}

// Routed returns the same streams behind a selector, which is asked as by
// [Pool.Routed]: for the key that routing.WithKey put into the context, and again
// when the enclave drops out before anything was sent. It costs nothing, and
// closes with ss.
func (ss *Streams[Req, Res]) Routed(sel routing.Selector) *RoutedStreams[Req, Res] {
	return &RoutedStreams[Req, Res]{ss.warmStreams, sel}
}

// Exchange is [Streams.Exchange] with the enclave that the selector chooses. Its
// errors are those of Streams.Exchange and of Pool.Routed.
func (rs *RoutedStreams[Req, Res]) Exchange(ctx context.Context, req *Req) (*Res, error) {
	ws := rs.streams
	if ws.err != nil {
		return nil, &Error{Reason: ErrConfig, Cause: ws.err}
	}
	ctx, cancel := withDeadline(ctx, time.Duration(ws.pool.requestTimeout.Load()))
	defer cancel()
	var res *Res
	idempotent := func(*enclave) bool { return ws.opts.idempotent }
	err := routed{ws.pool, rs.selector}.follow(ctx, idempotent, func(e *enclave, p patience) (err error) {
		t := ws.setFor(e)
		if t == nil {
			return &Error{EnclaveID: e.id, Reason: ErrClosed}
		}
		res, err = exchangeOnce[Req, Res](ctx, t, p, req)
		return err
	})
	return res, err
}
