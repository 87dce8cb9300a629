// Package pool keeps warm gRPC connections to a set of enclaves and lends out
// the right to open a stream on one of them, so that a call never contains a
// dial, a queue that nobody sees or a dead connection.
//
// It decides how many connections there are, when one is dialled again and who
// may send; which enclave serves a key is for package routing, and how bytes
// reach an enclave for the target syntax described at [Enclave].
//
// Start with [New] and [Pool.Conn]; [Pool.Acquire] is the same in two steps.
// Inside, slots.go holds the admission, keeper.go the life of connections,
// streams_set.go the warm streams.
//
// # What a failure means
//
// Every failure of the pool's own is an [*Error]. Its Disposition says how far
// the call got, and so which failures are safe to repeat:
//
//   - [NotSent]: no byte of it left this process. Safe to repeat, always.
//   - [Refused]: the enclave reset the stream with REFUSED_STREAM, or left it out
//     of its GOAWAY, which promises that it was not processed (RFC 9113, sections
//     8.7 and 6.8). Safe to repeat, always.
//   - [Unknown]: it was sent and no answer came. The enclave may or may not have
//     executed it. Safe to repeat only if the method is idempotent.
//
// What the enclave itself answered is no *Error but the status that it sent, and
// it was processed. A status of the caller's own context (DeadlineExceeded,
// Canceled) says nothing of whether the enclave executed the call.
//
// # Who repeats
//
// A call of which nothing was sent moves to another connection by itself, for
// every method: gRPC's transparent retry, and the lease that moves. A call that
// may have been processed is made once, unless its method is declared idempotent
// by a retryPolicy in the service config (see [WithServiceConfig]):
//
//	{"methodConfig": [{
//	  "name": [{"service": "signer.v1.SignerService", "method": "Sign"}],
//	  "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.005s", "maxBackoff": "0.05s",
//	    "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}
//
// gRPC then repeats it on another connection, within maxAttempts and its retry
// throttling, and the pool repeats, within the same maxAttempts, what gRPC leaves
// lost: a unary call whose answer had begun, or whose repetition was queued on a
// connection that closed. Streams that have carried an answer are repeated by
// nobody but their caller, or by [Streams].
//
// # Warm streams
//
// A message on an open bidirectional stream costs about a fifth of a unary call.
// [NewStreams] keeps such streams open to every enclave and sends each request on
// one of its own: [Streams.Exchange] for one request, [Streams.Acquire] for
// several in a row. A deadline ends its exchange and resets that one stream; what
// was certainly not processed moves to another stream by itself, what may have
// been is repeated only [WithIdempotent]. [Streams] says what the enclave has to
// do. In return the enclave sees no metadata per request.
package pool
