package pool

import (
	"context"
	"sync/atomic"
)

// Stream is a warm stream in a caller's hands. It carries one exchange at a
// time, any number one after another. Release it when done.
type Stream[Req, Res any] struct {
	set   *warmSet
	warm  *warmStream // nil: the last one failed; the next exchange takes another
	state atomic.Uint32
}

// EnclaveID returns the ID of the enclave that the stream leads to.
func (s *Stream[Req, Res]) EnclaveID() string { return s.set.e.id }

// Exchange sends req and returns the response to it. Without a deadline in ctx,
// Config.RequestTimeout is one.
//
// When ctx ends first, Exchange returns at once (within a millisecond) with an
// *Error whose Reason is ctx's error; the stream is reset, so that the enclave
// can stop working on it and nobody ever sees the late response.
//
// A request that the enclave has certainly not processed moves to another
// stream by itself, which waits like Acquire if it has to: one that was not
// sent, because the connection was lost or the stream had ended while idle; one
// that the enclave refused (REFUSED_STREAM, GOAWAY); one whose stream the
// enclave ended with OK instead of an answer. After a few fruitless moves the
// error says ErrUnavailable. A request that may have been processed fails with
// an *Error of Disposition Unknown; with WithIdempotent it is first repeated
// once. A status that the enclave itself sends is returned as gRPC made it, and
// ends the stream.
//
// After a failure the next Exchange takes another stream. A second Exchange at
// the same time fails with ErrLeaseBusy, one after Release with
// ErrLeaseReleased.
func (s *Stream[Req, Res]) Exchange(ctx context.Context, req *Req) (*Res, error) {
	for {
		st := s.state.Load()
		switch {
		case st&leaseReleased != 0:
			return nil, &Error{EnclaveID: s.set.e.id, Reason: ErrLeaseReleased}
		case st&leaseBusy != 0:
			return nil, &Error{EnclaveID: s.set.e.id, Reason: ErrLeaseBusy}
		}
		if s.state.CompareAndSwap(st, st|leaseBusy) {
			break
		}
	}
	defer func() {
		if st := s.state.And(^uint32(leaseBusy)); st&leaseReleased != 0 {
			s.giveBack()
		}
	}()
	var res *Res
	var err error
	res, s.warm, err = exchange[Req, Res](ctx, s.set, s.warm, untilBudget, req)
	return res, err
}

// Release gives the stream back to the warm ones, straight to the oldest
// caller who waits for one; a failed one has been discarded already. Calling it
// again does nothing. During an Exchange it takes effect when that is over.
func (s *Stream[Req, Res]) Release() {
	if st := s.state.Or(leaseReleased); st == 0 {
		s.giveBack()
	}
}

func (s *Stream[Req, Res]) giveBack() {
	if w := s.warm; w != nil {
		s.warm = nil
		s.set.put(w)
	}
}
