package enclave

import (
	"bytes"
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

// service implements the three calls. Faults have had their say before a unary call gets here; on a
// SignStream they have it message by message.
type service struct {
	signerv1.UnimplementedSignerServiceServer
	s *Server
}

// Create implements signerv1.SignerServiceServer.
func (v service) Create(ctx context.Context, req *signerv1.CreateRequest) (*signerv1.CreateResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	id, k, err := v.s.keys.create(req.GetKeyId(), req.GetAlgorithm())
	if err != nil {
		return nil, err
	}
	return &signerv1.CreateResponse{KeyId: id, Algorithm: k.algorithm, PublicKey: k.public}, nil
}

// Sign implements signerv1.SignerServiceServer.
func (v service) Sign(ctx context.Context, req *signerv1.SignRequest) (*signerv1.SignResponse, error) {
	if n := len(req.GetDigest()); n != signer.DigestSize {
		return nil, status.Errorf(codes.InvalidArgument, "digest has %d bytes: want %d", n, signer.DigestSize)
	}
	k, err := v.s.keys.get(req.GetKeyId())
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, status.FromContextError(err).Err() // nobody waits for it any more
	}
	res := &signerv1.SignResponse{Algorithm: k.algorithm}
	if v.s.opts.Sign == SignEcho {
		res.Signature = bytes.Clone(req.GetDigest())
	} else {
		res.Signature = k.sign(req.GetDigest())
	}
	v.s.count.signatures.Add(1)
	return res, nil
}

// SignStream implements signerv1.SignerServiceServer.
func (v service) SignStream(stream grpc.BidiStreamingServer[signerv1.SignStreamRequest, signerv1.SignStreamResponse]) error {
	ctx := stream.Context()
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		res := &signerv1.SignStreamResponse{Id: req.GetId()}
		if err := v.exchange(ctx, req, res); errors.Is(err, errReset) {
			<-ctx.Done() // the transport has been told that the client reset the stream
			return err
		} else if err != nil {
			res.Response = &signerv1.SignStreamResponse_Error{Error: signer.ErrorOf(err)}
		}
		if err := stream.Send(res); err != nil {
			return err
		}
	}
}

// exchange handles one message within the time it has left.
func (v service) exchange(ctx context.Context, req *signerv1.SignStreamRequest, res *signerv1.SignStreamResponse) error {
	v.s.count.exchanges.Add(1)
	if t := req.GetTimeout(); t != nil {
		if err := t.CheckValid(); err != nil {
			return status.Errorf(codes.InvalidArgument, "timeout: %v", err)
		}
		// A context is made although signing itself cannot be interrupted: faults can, and a signature
		// that is not begun in time is not begun.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.AsDuration())
		defer cancel()
	}
	if err := v.s.act(ctx); err != nil {
		return err
	}
	if err := v.answer(ctx, req, res); err != nil {
		return err
	}
	// Not ctx.Err(), which turns only when a timer got its turn.
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return status.FromContextError(context.DeadlineExceeded).Err()
	}
	return nil
}

func (v service) answer(ctx context.Context, req *signerv1.SignStreamRequest, res *signerv1.SignStreamResponse) error {
	switch r := req.GetRequest().(type) {
	case *signerv1.SignStreamRequest_Sign:
		signed, err := v.Sign(ctx, r.Sign)
		if err != nil {
			return err
		}
		res.Response = &signerv1.SignStreamResponse_Sign{Sign: signed}
	case *signerv1.SignStreamRequest_Create:
		created, err := v.Create(ctx, r.Create)
		if err != nil {
			return err
		}
		res.Response = &signerv1.SignStreamResponse_Create{Create: created}
	default:
		return status.Error(codes.InvalidArgument, "the message asks for nothing: want sign or create")
	}
	return nil
}
