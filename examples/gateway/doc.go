// Command gateway lets applications sign with keys that live in enclaves, over gRPC (signer.v1.SignerService) and as
// JSON over HTTP; every call goes through one pool of warm connections (package internal/gateway does the work).
// It authenticates nobody and encrypts nothing on the side of its callers, so by default it listens on this machine only.
// Start reading with run in main.go; `gateway -help` lists the flags and the variables it reads.
package main
