package gateway

import "time"

// Limits are how long a client may take for its part; docs/bounds.md has them beside those of size.
type Limits struct {
	// Header is for the headers of an HTTP request, Read for all of it.
	Header, Read time.Duration
	// Handshake is for a gRPC client's beginning.
	Handshake time.Duration
}

// DefaultLimits are 5 s for headers, 10 s for a request and 5 s for a handshake.
func DefaultLimits() Limits {
	return Limits{Header: 5 * time.Second, Read: 10 * time.Second, Handshake: 5 * time.Second}
}
