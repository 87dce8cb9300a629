package compare

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
)

// errNotSigned is an answer on a stream that is not the one to the request.
var errNotSigned = errors.New("the answer is not that to this sign request")

// poolStreams keeps SignStreams warm. The enclave is told the timeout in each request, as it is told that
// of a unary call in its headers.
func poolStreams(ctx context.Context, places []place, timeout time.Duration) (mode, error) {
	p, m, err := openPool(ctx, PoolStreams, places)
	if err != nil {
		return m, err
	}
	streams := pool.NewStreams(p, func(ctx context.Context, cc grpc.ClientConnInterface) (
		grpc.BidiStreamingClient[signerv1.SignStreamRequest, signerv1.SignStreamResponse], error) {
		return signerv1.NewSignerServiceClient(cc).SignStream(ctx)
	})
	var ids atomic.Uint64
	told := durationpb.New(timeout)
	m.sign = func(ctx context.Context, t *task) ([]byte, error) {
		id := ids.Add(1)
		res, err := streams.Exchange(ctx, places[t.enclave].id, &signerv1.SignStreamRequest{
			Id:      id,
			Request: &signerv1.SignStreamRequest_Sign{Sign: &signerv1.SignRequest{KeyId: t.keyID, Digest: t.digest}},
			Timeout: told,
		})
		switch {
		case err != nil:
			return nil, err
		case res.GetError() != nil:
			return nil, signer.AsError(res.GetError())
		case res.GetId() != id || res.GetSign() == nil:
			return nil, errNotSigned
		}
		return res.GetSign().GetSignature(), nil
	}
	return m, nil
}
