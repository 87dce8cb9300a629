// Package pooltest runs an enclave inside a test: a gRPC server of yours that
// can be killed, restarted, frozen and cut off while a pool is connected to it.
//
// It is a real gRPC server on a Unix socket or in memory, and no substitute for
// a separate process where signals, kernels or memory figures matter.
//
// Start with Start, or with NewMemory for tests inside a testing/synctest bubble.
package pooltest
