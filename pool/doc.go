// Package pool keeps warm gRPC connections to a set of enclaves and lends out
// the right to open a stream on one of them, so that a call never contains a
// dial, a queue that nobody sees or a dead connection.
//
// It decides how many connections there are, when one is dialled again and who
// may send; which enclave serves a key is for package routing, and how bytes
// reach an enclave for the target syntax described at [Enclave].
//
// Start with [New] and [Pool.Conn]; [Pool.Acquire] is the same in two steps.
// Inside, slots.go holds the admission, keeper.go the life of connections.
package pool
