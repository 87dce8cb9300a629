// Package readme holds the README's examples as code, so that they compile and
// run; its test fails when the README shows something else.
//
// It is no API. Start with the README.
package readme

import (
	"context"
	"time"

	"google.golang.org/grpc"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/routing"
)

func open(ctx context.Context, targetA, targetB string) (*pool.Pool, error) {
	// begin: open
	cfg := pool.DefaultConfig() // 16 connections per enclave, keepalive, backoff, probes
	cfg.Enclaves = []pool.Enclave{
		{ID: "a", Target: targetA}, // "vsock:16:5000"
		{ID: "b", Target: targetB}, // "unix:/run/b.sock"
	}
	p, err := pool.New(cfg) // starts connecting
	if err != nil {
		return nil, err // every bad field at once
	}
	return p, p.Ready(ctx) // every enclave has its connections
	// end
}

func dropIn(ctx context.Context, p *pool.Pool, keyID string, digest []byte) ([]byte, error) {
	// begin: drop-in
	client := signerv1.NewSignerServiceClient(p.Conn("a"))
	res, err := client.Sign(ctx, &signerv1.SignRequest{KeyId: keyID, Digest: digest})
	if err != nil {
		return nil, err
	}
	return res.GetSignature(), nil
	// end
}

func lease(ctx context.Context, p *pool.Pool, digest []byte) ([]byte, error) {
	// begin: lease
	l, err := p.Acquire(ctx, "a")
	if err != nil {
		return nil, err // *pool.Error: what happened, and whether a retry is safe
	}
	defer l.Release()
	client := signerv1.NewSignerServiceClient(l) // one call after another, no queue between
	key, err := client.Create(ctx, &signerv1.CreateRequest{})
	if err != nil {
		return nil, err
	}
	res, err := client.Sign(ctx, &signerv1.SignRequest{KeyId: key.GetKeyId(), Digest: digest})
	return res.GetSignature(), err
	// end
}

func stream(ctx context.Context, p *pool.Pool, requests []*signerv1.SignStreamRequest) (answers []*signerv1.SignStreamResponse, err error) {
	// begin: stream
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // how long the stream may live
	defer cancel()                                       // ends it, and gives its slot back
	s, err := signerv1.NewSignerServiceClient(p.Conn("b")).SignStream(ctx)
	for _, req := range requests {
		if err == nil {
			err = s.Send(req)
		}
		if err == nil {
			var res *signerv1.SignStreamResponse
			res, err = s.Recv()
			answers = append(answers, res)
		}
	}
	// end
	return answers, err
}

func warmStreams(ctx context.Context, p *pool.Pool, req *signerv1.SignStreamRequest) (*signerv1.SignStreamResponse, error) {
	// begin: warm streams
	streams := pool.NewStreams(p, func(ctx context.Context, cc grpc.ClientConnInterface) (
		grpc.BidiStreamingClient[signerv1.SignStreamRequest, signerv1.SignStreamResponse], error) {
		return signerv1.NewSignerServiceClient(cc).SignStream(ctx)
	}, pool.WithIdempotent()) // signing twice does no harm, so what was lost on the way is sent again
	defer streams.Close(ctx) // made once, used by all callers at once

	return streams.Exchange(ctx, "a", req) // a message each way; ctx's deadline is that of this one
	// end
}

func routed(ctx context.Context, p *pool.Pool, keyID string, digest []byte) ([]byte, error) {
	// begin: routed
	selector := routing.NewRendezvous() // Strict: the key's owner, or an error that says when to come back
	client := signerv1.NewSignerServiceClient(p.Routed(selector))
	ctx = routing.WithKey(ctx, keyID)
	if _, err := client.Create(ctx, &signerv1.CreateRequest{KeyId: keyID}); err != nil {
		return nil, err
	}
	res, err := client.Sign(ctx, &signerv1.SignRequest{KeyId: keyID, Digest: digest}) // finds the same enclave
	return res.GetSignature(), err
	// end
}
