package gateway

import (
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

type signStream = grpc.BidiStreamingServer[signerv1.SignStreamRequest, signerv1.SignStreamResponse]

// streamQueue is how many messages of one stream are read ahead of the one being answered. Their time runs from when
// they were read.
const streamQueue = 32

// incoming is what Recv returned, and when.
type incoming struct {
	message *signerv1.SignStreamRequest
	err     error
	at      time.Time
}

// SignStream implements signerv1.SignerServiceServer: one exchange after another, each with the enclave that its key
// leads to. An exchange that fails is answered with its error, and the stream goes on.
func (s *service) SignStream(stream signStream) error {
	ctx := stream.Context()
	x := &exchanger{ctx: ctx, backend: s.backend, open: make(map[string]*upstream)}
	defer x.closeAll()
	in := make(chan incoming, streamQueue)
	go receive(stream, in)

	sweep := time.NewTimer(upstreamIdle)
	defer sweep.Stop()
	sweeping := true // the timer runs
	for {
		select {
		case m := <-in:
			if errors.Is(m.err, io.EOF) {
				return nil
			}
			if m.err != nil {
				return m.err
			}
			if err := stream.Send(x.answer(m)); err != nil {
				return err
			}
			if !sweeping && len(x.open) > 0 {
				sweep.Reset(upstreamIdle)
				sweeping = true
			}
		case <-sweep.C:
			if sweeping = x.sweep(); sweeping {
				sweep.Reset(upstreamIdle)
			}
		case <-s.stopping:
			return s.finish(stream, x, in)
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// receive reads messages until the first error. It ends with the stream.
func receive(stream signStream, in chan<- incoming) {
	for {
		m, err := stream.Recv()
		select {
		case in <- incoming{m, err, time.Now()}:
		case <-stream.Context().Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// finish answers what has been read and ends the stream, since its client may never do so.
func (s *service) finish(stream signStream, x *exchanger, in <-chan incoming) error {
	for range len(in) {
		m := <-in
		if m.err != nil {
			break
		}
		if err := stream.Send(x.answer(m)); err != nil {
			return err
		}
	}
	return errStopping
}

// errStopping tells clients to go elsewhere.
var errStopping = refuse(codes.Unavailable, "the gateway is shutting down")

// answer makes one exchange.
func (x *exchanger) answer(m incoming) *signerv1.SignStreamResponse {
	res, err := x.pass(m)
	if err != nil {
		res = &signerv1.SignStreamResponse{Response: &signerv1.SignStreamResponse_Error{Error: signer.ErrorOf(err)}}
	}
	res.Id = m.message.GetId()
	return res
}

// pass finds the enclave and the deadline of an exchange and makes it.
func (x *exchanger) pass(m incoming) (*signerv1.SignStreamResponse, error) {
	deadline, err := x.deadline(m)
	if err != nil {
		return nil, err
	}
	switch r := m.message.GetRequest().(type) {
	case *signerv1.SignStreamRequest_Sign:
		enclaveID := x.backend.router.Route(r.Sign.GetKeyId())
		res, err := x.exchange(enclaveID, m.message, deadline)
		return res, fail(err, enclaveID, true)
	case *signerv1.SignStreamRequest_Create:
		named, idempotent := naming(r.Create)
		enclaveID := x.backend.router.Route(named.GetKeyId())
		res, err := x.exchange(enclaveID, &signerv1.SignStreamRequest{
			Request: &signerv1.SignStreamRequest_Create{Create: named}}, deadline)
		return res, fail(err, enclaveID, idempotent)
	}
	return nil, refuse(codes.InvalidArgument, "the message asks for nothing: want sign or create")
}

// deadline is when an exchange has to be over: after the time that the message gives it, or the time that calls
// without a deadline have, and with the stream at the latest.
func (x *exchanger) deadline(m incoming) (time.Time, error) {
	timeout := x.backend.requestTimeout
	if t := m.message.GetTimeout(); t != nil {
		if err := t.CheckValid(); err != nil {
			return time.Time{}, refuse(codes.InvalidArgument, "timeout: %v", err)
		}
		timeout = t.AsDuration()
	}
	deadline := m.at.Add(min(timeout, x.backend.maxTimeout))
	if d, ok := x.ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	return deadline, nil
}
