// Package gateway takes Create, Sign and SignStream from its callers, over gRPC and as JSON over HTTP, and passes
// them to the enclaves through one pool.Pool.
// It holds no keys, authenticates nobody and encrypts nothing: put it where only those who may sign can reach it.
// Start reading with Config and New; backend.go, placement.go (which enclave) and warm.go (on which stream) are the way
// of a request, the rest is what surrounds it.
package gateway
