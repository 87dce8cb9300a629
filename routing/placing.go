package routing

import "context"

type placing struct{} // of the mark in a context

// WithPlacing returns a context whose calls make their key: for a key that has
// no place yet a Placed chooses one and records it. Without it such a key is
// ErrNotPlaced. Selectors that hash take no notice.
func WithPlacing(ctx context.Context) context.Context {
	return context.WithValue(ctx, placing{}, true)
}

// IsPlacing tells whether ctx is from WithPlacing.
func IsPlacing(ctx context.Context) bool {
	is, _ := ctx.Value(placing{}).(bool)
	return is
}
