// Package signer holds what every side of the signer service needs besides the generated code:
// checking signatures, and carrying gRPC errors on a SignStream.
// It makes no signatures and opens no connections; the enclave does the one and the pool the other.
// Start reading with v1/signer.proto, then Verify.
package signer

//go:generate ./generate.sh
