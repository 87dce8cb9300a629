package gateway

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/enclavepool/enclavepool/pool"
)

// errorBody is the answer to a request that failed.
type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	// Code is the gRPC code, such as UNAVAILABLE.
	Code string `json:"code"`
	// Message is for people.
	Message string `json:"message"`
	// Retryable: the same request may be sent again, and may then succeed.
	Retryable bool `json:"retryable"`
	// RetryAfterMS is how long to wait before that, in milliseconds. Absent: not known.
	RetryAfterMS int64 `json:"retry_after_ms,omitempty"`
	// Disposition is how far the request got: not_sent, refused, unknown or processed.
	Disposition string `json:"disposition"`
}

// httpError is a failure with an HTTP status other than that of its code.
type httpError struct {
	status int
	error
	allow string // the methods that there are, for status 405
}

func (e httpError) Unwrap() error { return e.error }

// notAllowed refuses a method.
func notAllowed(allow string) error {
	return httpError{http.StatusMethodNotAllowed, refuse(codes.Unimplemented, "method: want %s", allow), allow}
}

// writeError answers with a failure.
func (g *Gateway) writeError(w http.ResponseWriter, r *http.Request, err error) {
	var f *failure
	if !errors.As(err, &f) {
		f = fail(err, "", false).(*failure)
	}
	code := f.status.Code()
	status := httpStatus(code)
	var he httpError
	if errors.As(err, &he) {
		status = he.status
	}
	switch status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", he.allow)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfterSeconds(f.retryAfter))
	}
	g.log.LogAttrs(r.Context(), slog.LevelDebug, "request failed", slog.String("pattern", r.Pattern),
		slog.Int("status", status), slog.String("code", codeName(code)), slog.String("err", ownWords(err)))
	writeJSON(w, status, errorBody{errorDetail{
		Code:         codeName(code),
		Message:      f.status.Message(),
		Retryable:    f.retryable,
		RetryAfterMS: ceil(f.retryAfter, time.Millisecond),
		Disposition:  f.disposition.String(),
	}})
}

// ownWords is the text of err for a log, where it is the pool's. An enclave's may repeat what it was asked, and
// where the gateway refuses the code says it all.
func ownWords(err error) string {
	var e *pool.Error
	if errors.As(err, &e) {
		return e.Error()
	}
	return ""
}

// httpStatus is the HTTP status of a code.
func httpStatus(c codes.Code) int {
	switch c {
	case codes.InvalidArgument, codes.OutOfRange, codes.FailedPrecondition:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.Canceled: // the client's doing, who is not likely to read it
		return http.StatusRequestTimeout
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// retryAfterSeconds is the header's value: whole seconds, at least one.
func retryAfterSeconds(d time.Duration) string {
	return strconv.FormatInt(max(1, ceil(d, time.Second)), 10)
}

// ceil is d in units, rounded up.
func ceil(d, unit time.Duration) int64 { return int64((d + unit - 1) / unit) }
