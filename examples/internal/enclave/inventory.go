package enclave

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

const (
	defaultList = 1000
	maxList     = 10_000
)

// inventory implements ListKeys, which is for operators.
type inventory struct {
	signerv1.UnimplementedInventoryServiceServer
	s *Server
}

// ListKeys implements signerv1.InventoryServiceServer.
func (v inventory) ListKeys(_ context.Context, req *signerv1.ListKeysRequest) (*signerv1.ListKeysResponse, error) {
	limit := int(req.GetLimit())
	if limit == 0 {
		limit = defaultList
	}
	if limit < 1 || limit > maxList {
		return nil, status.Errorf(codes.InvalidArgument, "limit is %d: want 1 to %d, or 0 for %d", limit, maxList, defaultList)
	}
	names, more := v.s.keys.list(req.GetFrom(), limit)
	return &signerv1.ListKeysResponse{KeyIds: names, More: more}, nil
}
