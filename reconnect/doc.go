// Package reconnect decides when a lost connection is dialled again.
//
// It holds no connection, starts no goroutine and reads no clock: it answers
// with durations, and whoever owns the connection waits them out.
//
// Start with Policy; Backoff is one connection's way through it.
package reconnect
