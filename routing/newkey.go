package routing

import (
	"context"
	"errors"
	"fmt"
)

// maxDraws bounds NewKey. Where one enclave in eight takes new keys, all of so
// many draws miss it once in 10¹⁴ times.
const maxDraws = 256

// NewKey makes up a key: it draws until sel chooses an enclave for the key that
// is not cordoned, and returns both. A key whose owner is Degraded or Draining,
// and which sel does not let spill, is drawn again too. draw returns a new key
// each time, such as a random UUID.
//
// After 256 draws in vain the error wraps the last error of sel, or ErrNoMember
// where all that it chose were cordoned. Other errors of sel, and ctx's end, are
// returned at once.
func NewKey(ctx context.Context, v *View, sel Selector, draw func() string) (key, enclaveID string, err error) {
	last := ErrNoMember
	for range maxDraws {
		if err := ctx.Err(); err != nil {
			return "", "", err
		}
		key := draw()
		id, err := sel.Select(ctx, v, key)
		switch {
		case errors.Is(err, ErrOwnerUnavailable):
			last = err
			continue
		case err != nil:
			return "", "", err
		}
		if m, ok := v.Member(id); ok && !m.Cordoned {
			return key, id, nil
		}
	}
	return "", "", fmt.Errorf("routing: no enclave takes new keys (%d draws): %w", maxDraws, last)
}
