package gateway

import (
	"context"
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

// SignStream implements signerv1.SignerServiceServer: one request after another, each sent to the enclave that its key
// leads to. One that fails is answered with its error, and the stream goes on. A client that is silent costs an
// enclave nothing.
func (s *service) SignStream(stream signStream) error {
	ctx := stream.Context()
	in := make(chan incoming, streamQueue)
	go receive(stream, in)
	for {
		select {
		case m := <-in:
			if errors.Is(m.err, io.EOF) {
				return nil
			}
			if m.err != nil {
				return m.err
			}
			if err := stream.Send(s.answer(ctx, m)); err != nil {
				return err
			}
		case <-s.stopping:
			return s.finish(stream, in)
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
func (s *service) finish(stream signStream, in <-chan incoming) error {
	for range len(in) {
		m := <-in
		if m.err != nil {
			break
		}
		if err := stream.Send(s.answer(stream.Context(), m)); err != nil {
			return err
		}
	}
	return errStopping
}

// errStopping tells clients to go elsewhere.
var errStopping = refuse(codes.Unavailable, "the gateway is shutting down")

// answer answers one message.
func (s *service) answer(ctx context.Context, m incoming) *signerv1.SignStreamResponse {
	res, err := s.backend.pass(ctx, m)
	if err != nil {
		res = &signerv1.SignStreamResponse{Response: &signerv1.SignStreamResponse_Error{Error: signer.ErrorOf(err)}}
	}
	res.Id = m.message.GetId()
	return res
}

// pass does what a message asks for, by its deadline.
func (b *backend) pass(ctx context.Context, m incoming) (*signerv1.SignStreamResponse, error) {
	deadline, err := b.deadline(m)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	switch r := m.message.GetRequest().(type) {
	case *signerv1.SignStreamRequest_Sign:
		res, _, err := b.sign(ctx, r.Sign)
		return &signerv1.SignStreamResponse{Response: &signerv1.SignStreamResponse_Sign{Sign: res}}, err
	case *signerv1.SignStreamRequest_Create:
		res, err := b.create(ctx, r.Create)
		return &signerv1.SignStreamResponse{Response: &signerv1.SignStreamResponse_Create{Create: res}}, err
	}
	return nil, refuse(codes.InvalidArgument, "the message asks for nothing: want sign or create")
}

// deadline is when a message has to be answered: after the time that it gives itself, or the time that calls without a
// deadline have. The stream's own deadline holds besides.
func (b *backend) deadline(m incoming) (time.Time, error) {
	timeout := time.Duration(b.requestTimeout.Load())
	if t := m.message.GetTimeout(); t != nil {
		if err := t.CheckValid(); err != nil {
			return time.Time{}, refuse(codes.InvalidArgument, "timeout: %v", err)
		}
		timeout = t.AsDuration()
	}
	return m.at.Add(min(timeout, b.maxTimeout)), nil
}
