// Command attest shows attested TLS: a pool that admits one fake enclave, which proves what runs in it, and refuses four
// impostors that nearly do. It needs no hardware, ends by itself within seconds and says how it went, also by its exit
// status. What is proved, and how, is in package internal/attestation; peers.go has the five, main.go the demonstration.
package main
