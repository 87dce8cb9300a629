package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/enclavepool/enclavepool/routing"
)

// The reasons of an Error, for errors.Is.
var (
	// ErrUnknownEnclave: no enclave of that ID is in the Config. Code NotFound.
	ErrUnknownEnclave = errors.New("unknown enclave")
	// ErrExhausted: every slot is taken and the queue is full, or
	// AcquireTimeout has passed in it. Code ResourceExhausted; retryable.
	ErrExhausted = errors.New("pool exhausted")
	// ErrUnavailable: no connection to the enclave, or the one that carried
	// the call was lost. Code Unavailable; retryable as far as the Error's
	// Disposition says.
	ErrUnavailable = errors.New("enclave unavailable")
	// ErrDraining: the enclave is being drained. Code Unavailable; retryable.
	ErrDraining = errors.New("enclave draining")
	// ErrClosed: the pool has been closed. Code Unavailable.
	ErrClosed = errors.New("pool closed")
	// ErrConfig: a setting is not valid; the Cause is a *FieldError. Code
	// InvalidArgument.
	ErrConfig = errors.New("invalid configuration")
	// ErrSelector: the selector of a routed call failed; the Cause is its error.
	// Code Internal.
	ErrSelector = errors.New("selector failed")
	// ErrLeaseBusy: the lease carries another call. Code FailedPrecondition.
	ErrLeaseBusy = errors.New("lease already carries a call")
	// ErrLeaseReleased: the lease was given back. Code FailedPrecondition.
	ErrLeaseReleased = errors.New("lease released")
)

// Disposition is how far a failed call got, and so whether it may be repeated.
type Disposition uint8

const (
	// NotSent: nothing left this process; repeating it is safe.
	NotSent Disposition = iota
	// Refused: the enclave said that it did not process it; repeating it is safe.
	Refused
	// Unknown: it may have been processed; repeat it only if it is idempotent.
	Unknown
	// Processed: the enclave answered. No Error has it, since an answer, be it a
	// failure, is passed on as the status it came as; it is there for code that
	// keeps a Disposition for every call.
	Processed
)

// String returns the name in lower case with an underscore.
func (d Disposition) String() string {
	switch d {
	case NotSent:
		return "not_sent"
	case Refused:
		return "refused"
	case Unknown:
		return "unknown"
	case Processed:
		return "processed"
	}
	return fmt.Sprintf("disposition(%d)", uint8(d))
}

// Error is what every failure of the pool looks like. What an enclave itself
// answered is passed on as gRPC made it and is no Error.
type Error struct {
	EnclaveID string
	// Reason is one of this package's Err values, or the context's error where
	// the caller's context ended first.
	Reason error
	// Disposition says whether the call may have reached the enclave.
	Disposition Disposition
	// RetryAfter is how long to wait before trying again; 0: not known.
	RetryAfter time.Duration
	// Cause is what lies beneath: an error of the dialer, of gRPC; may be nil.
	Cause error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("enclavepool: ")
	if e.EnclaveID != "" {
		fmt.Fprintf(&b, "enclave %q: ", e.EnclaveID)
	}
	fmt.Fprint(&b, e.Reason)
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, " (retry after %v)", e.RetryAfter)
	}
	return b.String()
}

// Unwrap returns Reason and Cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

// GRPCStatus makes an Error a gRPC status, so that a gateway can return it as
// it is: the code of its Reason, and a google.rpc.RetryInfo with RetryAfter.
func (e *Error) GRPCStatus() *status.Status {
	s := status.New(e.code(), e.Error())
	if e.RetryAfter <= 0 {
		return s
	}
	if d, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)}); err == nil {
		return d
	}
	return s
}

func (e *Error) code() codes.Code {
	switch e.Reason {
	case ErrUnknownEnclave, routing.ErrNotPlaced:
		return codes.NotFound
	case ErrExhausted:
		return codes.ResourceExhausted
	case ErrUnavailable, ErrDraining, ErrClosed:
		return codes.Unavailable
	case ErrConfig, routing.ErrNoKey:
		return codes.InvalidArgument
	case ErrSelector:
		return codes.Internal
	case ErrLeaseBusy, ErrLeaseReleased:
		return codes.FailedPrecondition
	case context.DeadlineExceeded:
		return codes.DeadlineExceeded
	case context.Canceled:
		return codes.Canceled
	}
	return codes.Unknown
}

// configErrors turns the problems of a Config into one error, each an *Error.
func configErrors(problems []error) error {
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = &Error{Reason: ErrConfig, Cause: p}
	}
	return errors.Join(errs...)
}
