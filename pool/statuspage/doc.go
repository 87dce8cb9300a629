// Package statuspage serves a pool as a live picture in the browser: what is
// not well comes first, each enclave with its connections, its last events and
// how long callers waited for a slot over the last minutes.
//
// It changes nothing and asks nobody who they are: serve it where only
// operators come. It shows enclave IDs, counts and causes of failures, which
// enclaves can word; no targets, no keys, no metadata, no payloads.
//
// Start with New; snapshot.go has the JSON that the page reads, and that others
// may read too, at the page's own address with "?data".
package statuspage
