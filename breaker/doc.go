// Package breaker names the states a connection or an enclave can be in and
// the events that report a change between them.
//
// It knows nothing of gRPC, of connections or of how a state is found out:
// package pool observes, this package gives the result its name.
//
// Start with State.
package breaker
