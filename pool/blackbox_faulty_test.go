package pool_test

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// errInterceptor is what the interceptors of these tests fail with when a call's
// context has the key of their place.
var errInterceptor = errors.New("interceptor says no")

type (
	failBefore struct{}
	failAfter  struct{}
)

func failingUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if ctx.Value(failBefore{}) != nil {
		return errInterceptor
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

func failingStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if ctx.Value(failBefore{}) != nil {
		return nil, errInterceptor
	}
	s, err := open(ctx, desc, cc, method, opts...)
	if err == nil && ctx.Value(failAfter{}) != nil {
		return nil, errInterceptor // and s is forgotten
	}
	return s, err
}

// failingCredentials fail before anything is sent.
type failingCredentials struct{}

func (failingCredentials) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return nil, status.Error(codes.Unauthenticated, "no token")
}
func (failingCredentials) RequireTransportSecurity() bool { return false }

var _ credentials.PerRPCCredentials = failingCredentials{}
