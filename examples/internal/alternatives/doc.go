// Package alternatives puts ways of reaching an enclave side by side: what Go
// programs do today without this library, and this library. Each is used the
// way its own documentation says, with the same retry policy, against the same
// kind of process, in the same run.
//
// It judges nothing: it writes tables. Start with Run; ways.go has the ways.
package alternatives
