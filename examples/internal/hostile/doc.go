// Package hostile runs a pool against enclaves that are hostile: each speaks raw HTTP/2, and breaks it in one way, while
// a healthy enclave in the same pool is under load. It reports what became of the hostile enclave, of the calls to both,
// of the healthy one's p99, of memory and of the log.
//
// It holds behaviours and prints timings. Both enclaves are processes of their own. It is no part of the library, and
// tries no attack from the gateway's side: package gateway's tests do that.
//
// Start with attack.go, what a hostile enclave is, and the lists early.go, late.go and streams.go; run.go runs one.
package hostile
