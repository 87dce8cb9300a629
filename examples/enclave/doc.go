// Command enclave runs a signing enclave for tests and demonstrations: real keys and signatures, no
// isolation, and faults to order (package internal/enclave does the work).
// It is no template for what runs inside a real enclave: attestation and sealed keys are missing.
// Start reading with run in main.go; `enclave -help` lists the flags.
package main
