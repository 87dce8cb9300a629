package routing

import (
	"errors"
	"fmt"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
)

var (
	// ErrNoMember: the View has no member that could be chosen.
	ErrNoMember = errors.New("no enclave to choose")
	// ErrOwnerUnavailable: the key belongs to an enclave that takes no calls at
	// present, and to no other. The error is an *OwnerError; retryable.
	ErrOwnerUnavailable = errors.New("the key's enclave is unavailable")
	// ErrNoKey: the Selector chooses by key, and the call has none.
	ErrNoKey = errors.New("no routing key")
)

// OwnerError is ErrOwnerUnavailable with the particulars.
type OwnerError struct {
	// EnclaveID is the owner: the first in the key's order.
	EnclaveID string
	// State is the owner's: Degraded or Draining.
	State breaker.State
	// Gone: the key lives in an enclave that is not in the View. State is
	// Degraded then.
	Gone bool
	// RetryAfter is how long to wait before trying again.
	RetryAfter time.Duration
}

// Error names the enclave, its state and the wait.
func (e *OwnerError) Error() string {
	if e.Gone {
		return fmt.Sprintf("routing: %v: %q is not in the View, retry in %v", ErrOwnerUnavailable, e.EnclaveID, e.RetryAfter)
	}
	return fmt.Sprintf("routing: %v: %q is %v, retry in %v", ErrOwnerUnavailable, e.EnclaveID, e.State, e.RetryAfter)
}

// Is makes errors.Is(e, ErrOwnerUnavailable) true.
func (e *OwnerError) Is(target error) bool { return target == ErrOwnerUnavailable }
