package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
)

// maxTries is how many streams an exchange tries, besides those that are idle:
// an enclave that refuses them all must not be flooded.
const maxTries = 4

// exchange carries out one exchange on s, or on a stream it takes itself if s
// is nil, and on others while req has certainly not been processed. It returns
// the stream that the caller has now; nil: none. p is the caller's patience.
func exchange[Req, Res any](ctx context.Context, t *warmSet, s *warmStream, p patience, req *Req) (*Res, *warmStream, error) {
	var deadline time.Time
	if d := t.e.cfg.Load().requestTimeout; d > 0 {
		if _, ok := ctx.Deadline(); !ok {
			deadline = time.Now().Add(d)
		}
	}
	var unknown error // an attempt may have been processed
	for tries, most := 1, 0; ; tries++ {
		if s == nil {
			var err error
			if s, err = t.acquireBy(ctx, deadline, p); err != nil {
				return nil, nil, afterUnknown(err, unknown)
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, s, afterUnknown(&Error{EnclaveID: t.e.id, Reason: err}, unknown)
		}
		res, fate, err := attempt[Req, Res](ctx, deadline, s, req)
		if fate == answered {
			return res, s, nil
		}
		t.discard(s)
		s = nil
		if most == 0 {
			most = maxTries + t.idleNow()
		}
		switch {
		case fate == answeredLast:
			return res, nil, nil
		case fate == unprocessed && tries < most:
		case fate == maybeProcessed && t.opts.idempotent && unknown == nil:
			unknown = err
		default:
			return nil, nil, afterUnknown(err, unknown)
		}
	}
}

// afterUnknown makes err say that an earlier attempt may have been processed.
func afterUnknown(err, unknown error) error {
	var e *Error
	if unknown == nil || !errors.As(err, &e) {
		return err
	}
	out := *e
	out.Disposition = Unknown
	out.Cause = fmt.Errorf("%w (repeated after: %w)", cmpOr(e.Cause, e.Reason), unknown)
	return &out
}

func cmpOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// acquireBy is acquire under a deadline as well, if it is not zero.
func (t *warmSet) acquireBy(ctx context.Context, deadline time.Time, patience patience) (*warmStream, error) {
	if s := t.pop(ctx); s != nil {
		return s, nil
	}
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	return t.acquire(ctx, patience)
}

// fate is how an attempt ended.
type fate uint8

const (
	answered       fate = iota
	answeredLast        // and the stream is over
	unprocessed         // certainly not processed; another stream may do better
	maybeProcessed      // nobody knows
	failed              // it is no use, or not allowed, to try again
)

var (
	errReset = errors.New("no answer yet; the stream was reset")
	errEnded = errors.New("the enclave ended the stream without an answer")
)

// attempt sends req on s and receives the response.
func attempt[Req, Res any](ctx context.Context, deadline time.Time, s *warmStream, req *Req) (*Res, fate, error) {
	rpc := s.rpc.(grpc.BidiStreamingClient[Req, Res])
	s.lease.conn.Load().attempted(ctx)
	s.begin(ctx, deadline)
	err := rpc.Send(req)
	sent := err == nil
	var res *Res
	if sent {
		res, err = rpc.Recv()
	}
	fired := s.over()
	switch {
	case err == nil && fired == notFired && !s.spent():
		return res, answered, nil
	case err == nil:
		return res, answeredLast, nil
	case err == io.EOF && !sent && fired == notFired:
		// It had ended before. What answers may still lie there are nobody's,
		// and what gRPC has to say of its end is not waited for: a transport that
		// is closing was seen to take no message and to end no stream either.
		reset := time.AfterFunc(lastWord, s.cancel)
		for err = nil; err == nil; {
			_, err = rpc.Recv()
		}
		if !reset.Stop() {
			err = io.EOF
		}
		return nil, unprocessed, s.unsent(err)
	}
	fate, err := s.fateOf(ctx, sent, fired, err)
	return nil, fate, err
}

// lastWord is how long a stream that takes no message has to say why.
const lastWord = 10 * time.Millisecond

// unsent is the error of an attempt on a stream that had ended with err.
func (s *warmStream) unsent(err error) error {
	if err == io.EOF {
		err = errEnded
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		out := *e
		out.Disposition = NotSent
		return &out
	case err == errEnded:
		return &Error{EnclaveID: s.set.e.id, Reason: ErrUnavailable, Cause: err}
	}
	return err // the enclave's own word
}

// fateOf says what has become of an attempt that failed with err.
func (s *warmStream) fateOf(ctx context.Context, sent bool, f fired, err error) (fate, error) {
	out := &Error{EnclaveID: s.set.e.id, Cause: ours(err)}
	if sent {
		out.Disposition = Unknown
	}
	switch {
	case f == cutOff:
		out.Reason = ErrClosed
		return failed, out
	case f == connLost:
		out.Reason, out.Cause = ErrUnavailable, s.lease.conn.Load().why(ours(err))
		if sent {
			return maybeProcessed, out
		}
		return unprocessed, out
	case f == callerEnded:
		out.Cause = errReset
		if out.Reason = ctx.Err(); out.Reason == nil {
			out.Reason = context.DeadlineExceeded // Config.RequestTimeout
		}
		return failed, out
	case err == io.EOF:
		out.Reason, out.Disposition, out.Cause = ErrUnavailable, Refused, errEnded
		return unprocessed, out
	}
	var e *Error
	switch {
	case !errors.As(err, &e):
		return failed, err // the enclave's own word, or a request that cannot be sent
	case movable(err):
		return unprocessed, err
	case e.Reason == ErrUnavailable && e.Disposition == Unknown:
		return maybeProcessed, err
	}
	return failed, err
}
