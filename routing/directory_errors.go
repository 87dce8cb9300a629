package routing

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrNotPlaced: the Directory has no place for the key. Nobody has made it,
	// or it was forgotten.
	ErrNotPlaced = errors.New("the key has no place")
	// ErrConflict: the key's place has been changed in the meantime.
	ErrConflict = errors.New("the key's place is another by now")
	// ErrInvalidPlacement: a key or an enclave ID is empty or too long, or a
	// limit out of range.
	ErrInvalidPlacement = errors.New("not valid in a directory")
	// ErrDirectoryUnavailable: the Directory can not be asked at present. The
	// error is a *DirectoryError; retryable.
	ErrDirectoryUnavailable = errors.New("the placement directory is unavailable")
	// ErrDirectoryClosed: the Directory, or what asks it, has been closed.
	ErrDirectoryClosed = errors.New("the placement directory is closed")
)

// DirectoryError is ErrDirectoryUnavailable with the particulars.
type DirectoryError struct {
	// Op is what was asked: "lookup", "place", "move", "forget", "list", "watch".
	Op string
	// RetryAfter is how long to wait before trying again.
	RetryAfter time.Duration
	// Cause is the storage's error; may be nil.
	Cause error
}

// Error names what was asked, the cause and the wait.
func (e *DirectoryError) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("routing: %s: %v, retry in %v", e.Op, ErrDirectoryUnavailable, e.RetryAfter)
	}
	return fmt.Sprintf("routing: %s: %v, retry in %v: %v", e.Op, ErrDirectoryUnavailable, e.RetryAfter, e.Cause)
}

// Is makes errors.Is(e, ErrDirectoryUnavailable) true.
func (e *DirectoryError) Is(target error) bool { return target == ErrDirectoryUnavailable }

// Unwrap returns Cause.
func (e *DirectoryError) Unwrap() error { return e.Cause }

// CheckPlacement returns ErrInvalidPlacement, wrapped, where a Directory may not
// record that the key lives in the enclave. For those who write one.
func CheckPlacement(key, enclaveID string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if n := len(enclaveID); n == 0 || n > MaxEnclaveIDLen {
		return fmt.Errorf("routing: enclave ID of %d bytes: %w: valid: 1 to %d", n, ErrInvalidPlacement, MaxEnclaveIDLen)
	}
	return nil
}

// CheckKey is CheckPlacement for the key alone.
func CheckKey(key string) error {
	if n := len(key); n == 0 || n > MaxKeyLen {
		return fmt.Errorf("routing: key of %d bytes: %w: valid: 1 to %d", n, ErrInvalidPlacement, MaxKeyLen)
	}
	return nil
}

// maxPage is the greatest limit of List.
const maxPage = 10_000

// CheckLimit returns ErrInvalidPlacement, wrapped, for a limit that List does
// not take. For those who write a Directory.
func CheckLimit(limit int) error {
	if limit < 1 || limit > maxPage {
		return fmt.Errorf("routing: limit %d: %w: valid: 1 to %d", limit, ErrInvalidPlacement, maxPage)
	}
	return nil
}
