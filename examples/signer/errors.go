package signer

import (
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// ErrorOf turns an error into the form it has on a SignStream: the code, message and details that
// gRPC would send for it, so context.DeadlineExceeded becomes DEADLINE_EXCEEDED and an error without
// a gRPC status UNKNOWN. It returns nil for nil.
func ErrorOf(err error) *signerv1.Error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	p := st.Proto()
	return &signerv1.Error{Code: p.GetCode(), Message: p.GetMessage(), Details: p.GetDetails()}
}

// AsError is the inverse of ErrorOf: an error that status.FromError understands. A nil e gives nil;
// the code 0, which no peer may send as an error, gives an error with the code INTERNAL.
func AsError(e *signerv1.Error) error {
	if e == nil {
		return nil
	}
	if e.GetCode() == int32(codes.OK) {
		return status.Errorf(codes.Internal, "error response with code OK: %s", e.GetMessage())
	}
	return status.FromProto(&spb.Status{Code: e.GetCode(), Message: e.GetMessage(), Details: e.GetDetails()}).Err()
}
