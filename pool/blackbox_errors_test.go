package pool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
)

func TestAnErrorIsItsReasonAndItsCauseAndAGRPCStatus(t *testing.T) {
	for _, tt := range []struct {
		reason error
		code   codes.Code
	}{
		{pool.ErrUnknownEnclave, codes.NotFound},
		{pool.ErrExhausted, codes.ResourceExhausted},
		{pool.ErrUnavailable, codes.Unavailable},
		{pool.ErrDraining, codes.Unavailable},
		{pool.ErrClosed, codes.Unavailable},
		{pool.ErrConfig, codes.InvalidArgument},
		{pool.ErrLeaseBusy, codes.FailedPrecondition},
		{pool.ErrLeaseReleased, codes.FailedPrecondition},
		{context.Canceled, codes.Canceled},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
	} {
		err := fmt.Errorf("signing: %w", &pool.Error{
			EnclaveID: "the-enclave", Reason: tt.reason, RetryAfter: 70 * time.Millisecond, Cause: fmt.Errorf("dial: %w", io.ErrUnexpectedEOF),
		})
		e := poolError(t, err, "the-enclave", tt.reason, tt.code)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v: the cause is lost", tt.reason)
		}
		for _, want := range []string{"the-enclave", tt.reason.Error(), io.ErrUnexpectedEOF.Error()} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not mention %q", err, want)
			}
		}
		if got := retryInfo(t, e); got != 70*time.Millisecond {
			t.Errorf("%v: RetryInfo says %v; want 70ms", tt.reason, got)
		}
		for _, other := range []error{pool.ErrUnknownEnclave, pool.ErrExhausted, pool.ErrUnavailable, pool.ErrDraining, pool.ErrClosed, pool.ErrConfig, pool.ErrLeaseBusy, pool.ErrLeaseReleased} {
			if other != tt.reason && errors.Is(err, other) {
				t.Errorf("%v is also %v", tt.reason, other)
			}
		}
	}
}

// retryInfo returns the delay of the status's RetryInfo, −1 without one.
func retryInfo(t *testing.T, err error) time.Duration {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			return r.RetryDelay.AsDuration()
		}
	}
	return -1
}

func TestAnErrorWithoutRetryAfterHasNoRetryInfo(t *testing.T) {
	err := &pool.Error{EnclaveID: "a", Reason: pool.ErrClosed}
	if got := retryInfo(t, err); got != -1 {
		t.Errorf("RetryInfo says %v", got)
	}
	if errors.Unwrap(err) != nil || len(err.Unwrap()) != 1 {
		t.Errorf("Unwrap = %v; want the reason alone", err.Unwrap())
	}
}

func TestAnErrorOfAnUnnamedReasonStillIsAnError(t *testing.T) {
	if c := status.Code(&pool.Error{Reason: io.EOF}); c == codes.OK {
		t.Error("an error has the code OK")
	}
}

func TestDispositionsHaveNames(t *testing.T) {
	for d, want := range map[pool.Disposition]string{
		pool.NotSent: "not_sent", pool.Refused: "refused", pool.Unknown: "unknown", pool.Processed: "processed",
	} {
		if d.String() != want {
			t.Errorf("%d is %q; want %q", d, d, want)
		}
	}
	if pool.Disposition(200).String() == "" {
		t.Error("an unknown disposition prints as nothing")
	}
}

func TestAnUnknownEnclaveIsNotFound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _ := memoryPool(t, &service{}, nil)
		_, err := p.Acquire(t.Context(), "nobody")
		poolError(t, err, "nobody", pool.ErrUnknownEnclave, codes.NotFound)
		_, err = client(p, "nobody").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		poolError(t, err, "nobody", pool.ErrUnknownEnclave, codes.NotFound)
		_, err = client(p, "").FullDuplexCall(t.Context())
		poolError(t, err, "", pool.ErrUnknownEnclave, codes.NotFound)
	})
}
