// Package compare measures ways of reaching an enclave side by side: a connection per request, shared
// connections, and enclavepool's unary calls and warm streams, in turns, so that all of them see the same
// machine. It does not judge the figures, and it goes to the enclaves directly, not through the gateway.
// Start reading with Run; modes.go has the ways.
package compare
