// Package enclave is a signing enclave for tests, benchmarks and demonstrations: it serves
// signer.v1.SignerService with real keys held in memory, and misbehaves on request.
// It isolates nothing and keeps nothing: whoever can read the process's memory has the keys, and they
// are gone when it stops. The faults that act on calls are decided in faults.go and gate.go; those
// that act on connections work on raw HTTP/2 frames in conn.go.
// Start reading with Options and New.
package enclave
