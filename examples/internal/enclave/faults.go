package enclave

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

// Faults says how the enclave misbehaves. The zero value is an enclave that works.
//
// A fraction is the share of calls, from 0 (none) to 1 (all), that meet a fault, each decided by
// itself at random. A call is one unary RPC, one stream of another service's, or one message on a
// SignStream. Several faults may meet one call; then it is stalled or delayed first, then reset, and
// what is left of it refused. Unless HealthToo is set, calls of the health service meet none of them.
type Faults struct {
	// Delay is waited before a call is handled, or until its deadline.
	Delay time.Duration
	// DelayFraction is the share of calls that are delayed. 0: all, so that Delay alone suffices.
	DelayFraction float64
	// StallFraction is the share of calls that hang until their deadline, or until the client goes.
	StallFraction float64
	// RefuseCode is what refused calls are answered with. 0: UNAVAILABLE.
	RefuseCode codes.Code
	// RefuseFraction is the share of calls that are answered with RefuseCode.
	RefuseFraction float64
	// ResetCode is the HTTP/2 error code of the RST_STREAM that ends a reset call. 0:
	// INTERNAL_ERROR.
	ResetCode http2.ErrCode
	// ResetFraction is the share of calls whose stream is reset. For a message it is the stream that
	// carried it.
	ResetFraction float64
	// DropEveryCalls closes, on every n-th call, the connection the call came on. 0: never.
	DropEveryCalls uint64
	// DropEveryConns closes every n-th connection as soon as it is accepted. 0: never.
	DropEveryConns uint64
	// NotServing makes the health service say NOT_SERVING. Calls are served all the same.
	NotServing bool
	// HealthToo makes the health service's calls meet the faults above.
	HealthToo bool
	// MaxConcurrentStreams lowers the number of streams that connections advertise, the open ones at
	// once by a SETTINGS frame. At most the Options' limit, which goes on being the one enforced.
	// 0: the Options' limit.
	MaxConcurrentStreams uint32
}

// withDefaults fills in what was not set. A change of single fields does without: there, 0 is a value.
func (f Faults) withDefaults() Faults {
	if f.DelayFraction == 0 {
		f.DelayFraction = 1
	}
	if f.RefuseCode == codes.OK {
		f.RefuseCode = codes.Unavailable
	}
	if f.ResetCode == http2.ErrCodeNo {
		f.ResetCode = http2.ErrCodeInternal
	}
	return f
}

// validate returns everything that is wrong with f, which has its defaults, beside the server's limit
// of streams.
func (f Faults) validate(limit uint32) error {
	var errs []error
	for _, d := range faultFields {
		if err := d.set(&f, fmt.Sprint(d.get(f))); err != nil { // f is this call's own copy
			errs = append(errs, err)
		}
	}
	if f.MaxConcurrentStreams > limit {
		errs = append(errs, fmt.Errorf("max_concurrent_streams: %d is not valid: want 0 to %d, the limit the enclave was started with", f.MaxConcurrentStreams, limit))
	}
	return errors.Join(errs...)
}

// parseCode understands a gRPC status code by its name, such as UNAVAILABLE, or its number.
func parseCode(s string) (codes.Code, error) {
	var c codes.Code
	text := strings.ToUpper(s)
	if text == "" || strings.Trim(text, "0123456789") != "" {
		text = `"` + text + `"`
	}
	if err := c.UnmarshalJSON([]byte(text)); err != nil || c == codes.OK {
		return 0, errors.New("no such code")
	}
	return c, nil
}

// codeName is the name that parseCode understands.
func codeName(c codes.Code) string {
	names := [...]string{
		codes.Canceled: "CANCELLED", codes.Unknown: "UNKNOWN", codes.InvalidArgument: "INVALID_ARGUMENT",
		codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.NotFound: "NOT_FOUND",
		codes.AlreadyExists: "ALREADY_EXISTS", codes.PermissionDenied: "PERMISSION_DENIED",
		codes.ResourceExhausted: "RESOURCE_EXHAUSTED", codes.FailedPrecondition: "FAILED_PRECONDITION",
		codes.Aborted: "ABORTED", codes.OutOfRange: "OUT_OF_RANGE", codes.Unimplemented: "UNIMPLEMENTED",
		codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE", codes.DataLoss: "DATA_LOSS",
		codes.Unauthenticated: "UNAUTHENTICATED",
	}
	if int(c) < len(names) && names[c] != "" {
		return names[c]
	}
	return c.String()
}

// parseErrCode understands an HTTP/2 error code by its name, such as REFUSED_STREAM. NO_ERROR is
// refused: a reset that is none would be a fault that nobody notices.
func parseErrCode(s string) (http2.ErrCode, error) {
	for c := http2.ErrCodeProtocol; c <= http2.ErrCodeHTTP11Required; c++ {
		if c.String() == strings.ToUpper(s) {
			return c, nil
		}
	}
	return 0, errors.New("no such code")
}
