// Command demo shows the pool at work: fake enclaves and a gateway as processes of their own, callers that sign through
// it, and one enclave that is killed and brought back under load. It ends by itself with a summary in words.
// It is no benchmark: callers, gateway and enclaves share this machine's cores.
// Start reading with run in main.go, then play in play.go; `demo -help` lists the flags.
package main
