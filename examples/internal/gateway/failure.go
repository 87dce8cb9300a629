package gateway

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/routing"
)

// domain is the domain of the google.rpc.ErrorInfo that every failure carries.
const domain = "enclavepool"

// failure is what a caller is told of a call that failed. It is a gRPC status with a google.rpc.ErrorInfo, whose
// metadata are enclave_id, disposition (pool.Disposition) and retryable ("true" or "false"), and with the
// google.rpc.RetryInfo of the pool, if that gave one.
type failure struct {
	status      *status.Status
	disposition pool.Disposition
	retryable   bool
	retryAfter  time.Duration // 0: not known
	cause       error
}

func (f *failure) Error() string              { return f.cause.Error() }
func (f *failure) Unwrap() error              { return f.cause }
func (f *failure) GRPCStatus() *status.Status { return f.status }

// fail makes a failure of err, which is nil, the pool's, an enclave's answer or a context's. idempotent says that
// the caller may make the same call again whatever became of this one.
func fail(err error, enclaveID string, idempotent bool) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	f := &failure{status: st, disposition: dispositionOf(st.Code()), cause: err}
	reason := codeName(st.Code())
	var pe *pool.Error
	if errors.As(err, &pe) {
		reason, f.disposition = reasonOf(pe), pe.Disposition
		if pe.EnclaveID != "" {
			enclaveID = pe.EnclaveID
		}
	}
	f.describe(reason, enclaveID, idempotent)
	return f
}

// refuse is a failure that the gateway decides on itself, before anything is sent.
func refuse(c codes.Code, format string, args ...any) error {
	st := status.Newf(c, format, args...)
	f := &failure{status: st, disposition: pool.NotSent, cause: st.Err()}
	f.describe(codeName(c), "", true)
	return f
}

// describe works out whether the call may be repeated, and puts that into the status. An ErrorInfo of the enclave's
// stays what it is, since a status has but one.
func (f *failure) describe(reason, enclaveID string, idempotent bool) {
	f.retryable = transient(f.status.Code()) &&
		(idempotent || f.disposition == pool.NotSent || f.disposition == pool.Refused)
	described := false
	for _, d := range f.status.Details() {
		switch d := d.(type) {
		case *errdetails.RetryInfo:
			f.retryAfter = d.GetRetryDelay().AsDuration()
		case *errdetails.ErrorInfo:
			described = true
		}
	}
	if described {
		return
	}
	info := &errdetails.ErrorInfo{Reason: reason, Domain: domain, Metadata: map[string]string{
		"disposition": f.disposition.String(),
		"retryable":   strconv.FormatBool(f.retryable),
	}}
	if enclaveID != "" {
		info.Metadata["enclave_id"] = enclaveID
	}
	if st, err := f.status.WithDetails(info); err == nil {
		f.status = st
	}
}

// transient says that a call which failed with c may succeed when made again.
func transient(c codes.Code) bool {
	switch c {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.DeadlineExceeded:
		return true
	}
	return false
}

// dispositionOf is what the code of an error tells that is none of the pool's. gRPC itself makes errors of these
// four codes when a call is cut short; any other, and Unavailable, which the pool would have explained, is an answer.
func dispositionOf(c codes.Code) pool.Disposition {
	switch c {
	case codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown:
		return pool.Unknown
	}
	return pool.Processed
}

// reasonOf is the reason of an ErrorInfo.
func reasonOf(e *pool.Error) string {
	if errors.Is(e.Cause, routing.ErrDirectoryUnavailable) {
		return "DIRECTORY_UNAVAILABLE"
	}
	switch e.Reason {
	case pool.ErrUnknownEnclave:
		return "UNKNOWN_ENCLAVE"
	case pool.ErrExhausted:
		return "POOL_EXHAUSTED"
	case pool.ErrUnavailable:
		return "ENCLAVE_UNAVAILABLE"
	case pool.ErrDraining:
		return "ENCLAVE_DRAINING"
	case pool.ErrClosed:
		return "POOL_CLOSED"
	case pool.ErrSelector:
		return "ROUTING_FAILED"
	case routing.ErrNoKey:
		return "NO_KEY"
	case routing.ErrNotPlaced:
		return "KEY_NOT_PLACED"
	case context.DeadlineExceeded:
		return "DEADLINE_EXCEEDED"
	case context.Canceled:
		return "CANCELLED"
	}
	return codeName(e.GRPCStatus().Code())
}

// codeName is a code as the protocol writes it, such as RESOURCE_EXHAUSTED.
func codeName(c codes.Code) string {
	if name, ok := code.Code_name[int32(c)]; ok {
		return name
	}
	return code.Code_UNKNOWN.String()
}
