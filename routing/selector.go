package routing

import "context"

// A Selector chooses the enclave that serves a key. Anybody can write one;
// package routingtest checks that it keeps to what is said here.
type Selector interface {
	// Select returns the ID of a member of v, or an error, and never both: ""
	// comes with an error. The errors that callers understand are ErrNoMember
	// (always for a v without members), ErrOwnerUnavailable and ErrNoKey, as
	// they are or wrapped; anything else is a failure of the Selector itself.
	//
	// An empty key means that the call has none. A Selector that needs one
	// returns ErrNoKey; nothing else announces whether it does.
	//
	// Select is called for every call, by many goroutines at once, each with
	// the View that it has: a Selector may see an older View after a newer one.
	// It must not keep v, and may block only as long as ctx lasts.
	Select(ctx context.Context, v *View, key string) (enclaveID string, err error)
}

type keyOf struct{} // of the key in a context

// WithKey returns a context whose calls are for key: a routed client hands it to
// its Selector.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyOf{}, key)
}

// KeyFrom returns the key that WithKey put into ctx last, and whether it did.
func KeyFrom(ctx context.Context) (key string, ok bool) {
	key, ok = ctx.Value(keyOf{}).(string)
	return key, ok
}
