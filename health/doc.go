// Package health says when a connection is probed and what the answers mean:
// whether it stays in rotation, rests, or is closed.
//
// It sends nothing, reads no clock, starts no goroutine and knows nothing of
// gRPC: package pool carries the probes and does what the verdicts say.
//
// Start with Policy; Monitor is one connection's way through it.
package health
