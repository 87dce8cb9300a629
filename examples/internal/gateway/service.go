package gateway

import (
	"context"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// service is signer.v1.SignerService as the gateway offers it.
type service struct {
	signerv1.UnimplementedSignerServiceServer
	backend *backend
	// stopping is closed when the gateway begins to shut down.
	stopping <-chan struct{}
}

// Create implements signerv1.SignerServiceServer.
func (s *service) Create(ctx context.Context, req *signerv1.CreateRequest) (*signerv1.CreateResponse, error) {
	return s.backend.create(ctx, req)
}

// Sign implements signerv1.SignerServiceServer.
func (s *service) Sign(ctx context.Context, req *signerv1.SignRequest) (*signerv1.SignResponse, error) {
	res, _, err := s.backend.sign(ctx, req)
	return res, err
}
