package load

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// answerGrace is how much longer than its timeout an exchange may take: the time for the service to say
// that the timeout has passed, which spares the stream.
const answerGrace = 500 * time.Millisecond

// stream is one caller's SignStream, replaced when it fails. It is for one goroutine, cancel apart.
type stream struct {
	r       *run
	client  signerv1.SignerServiceClient
	base    context.Context
	timeout *durationpb.Duration
	id      uint64

	ctx    context.Context // of the stream that is open or is to be opened next
	cancel context.CancelFunc
	rpc    signerv1.SignerService_SignStreamClient // nil: none is open
}

func newStream(r *run, client signerv1.SignerServiceClient, base context.Context) *stream {
	s := &stream{r: r, client: client, base: base, timeout: durationpb.New(r.cfg.Timeout)}
	s.ctx, s.cancel = context.WithCancel(base)
	return s
}

func (s *stream) open() error {
	rpc, err := s.client.SignStream(s.ctx)
	if err != nil {
		return err
	}
	s.rpc = rpc
	s.r.streams.Add(1)
	return nil
}

// discard ends the stream; the next exchange opens another.
func (s *stream) discard() {
	s.cancel()
	s.rpc = nil
	s.ctx, s.cancel = context.WithCancel(s.base)
}

// exchange sends the request and waits for the answer, on a new stream if need be.
func (s *stream) exchange(req *signerv1.SignRequest) (*signerv1.SignResponse, error) {
	var late atomic.Bool
	cancel := s.cancel
	guard := time.AfterFunc(s.r.cfg.Timeout+answerGrace, func() { late.Store(true); cancel() })
	res, err := s.roundTrip(req)
	if !guard.Stop() || err != nil {
		s.discard()
	}
	if err != nil {
		if late.Load() {
			err = status.FromContextError(context.DeadlineExceeded).Err()
		}
		return nil, err
	}
	if e := res.GetError(); e != nil {
		return nil, signer.AsError(e)
	}
	if res.GetSign() == nil {
		return nil, status.Error(codes.Internal, "the answer is not that to a sign request")
	}
	return res.GetSign(), nil
}

// roundTrip fails when the stream is of no more use.
func (s *stream) roundTrip(req *signerv1.SignRequest) (*signerv1.SignStreamResponse, error) {
	if s.rpc == nil {
		if err := s.open(); err != nil {
			return nil, err
		}
	}
	s.id++
	err := s.rpc.Send(&signerv1.SignStreamRequest{
		Id: s.id, Request: &signerv1.SignStreamRequest_Sign{Sign: req}, Timeout: s.timeout})
	if err != nil && !errors.Is(err, io.EOF) { // io.EOF: Recv knows why
		return nil, err
	}
	res, err := s.rpc.Recv()
	if errors.Is(err, io.EOF) {
		return nil, status.Error(codes.Unavailable, "the service ended the stream")
	}
	if err != nil {
		return nil, err
	}
	if res.GetId() != s.id {
		return nil, status.Errorf(codes.Internal, "asked %d, got the answer to %d", s.id, res.GetId())
	}
	return res, nil
}

// close ends the stream politely if it can.
func (s *stream) close() {
	if s == nil {
		return
	}
	if s.rpc != nil && s.rpc.CloseSend() == nil {
		guard := time.AfterFunc(answerGrace, s.cancel)
		_, _ = s.rpc.Recv() // the end, whatever it is
		guard.Stop()
	}
	s.cancel()
}
