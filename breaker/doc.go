// Package breaker says what state a connection or an enclave is in after
// something has happened to it, and how long what was taken out of service
// rests before it is tried again.
//
// It knows nothing of gRPC, of connections or of how a failure is found out:
// package pool observes and carries out, this package decides by pure functions.
//
// Start with State and Next.
package breaker
