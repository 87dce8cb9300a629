// Command alternatives measures ways of reaching an enclave side by side: one
// ClientConn, several in turn, grpc-gcp, and this library; under steady load,
// and while connections are killed, the enclave restarts or freezes, or allows
// few streams. It writes docs/comparison.md.
//
//	go run ./alternatives -o ../docs/comparison.md
package main
