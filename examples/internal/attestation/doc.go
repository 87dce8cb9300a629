// Package attestation is attested TLS for a pool, complete but for the hardware: an enclave makes its TLS key inside,
// and proves with a document in the manner of AWS Nitro (COSE_Sign1 over CBOR, signed by the hypervisor's authority)
// which code holds that key. A Verifier on the pool's side admits a connection only if all of it is true.
// The hypervisor is a pretence (Authority in authority.go); the documents and the checks are those of the real one, whose
// root is the only thing to exchange. It keeps no revocation lists and trusts the clock of this machine.
// Start reading with Policy.Verify in verify.go, then Credentials in transport.go, which says how the document travels and
// why so.
package attestation
