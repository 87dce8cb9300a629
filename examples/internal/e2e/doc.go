// Package e2e tests the examples end to end: enclaves, gateway and load generator as processes, over unix sockets, or over
// real AF_VSOCK with ENCLAVEPOOL_VSOCK=required.
// It has no code but tests; what starts the processes is package stack beside it, which the demo uses too.
// Start reading with helpers_test.go, then api_test.go.
package e2e
