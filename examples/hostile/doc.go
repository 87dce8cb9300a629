// Command hostile runs the pool against hostile enclaves, one way of being hostile after the other, while a healthy one
// is under load, and prints what became of each beside what it is held to.
//
//	go run ./hostile -o ../docs/hostile-peers.md
//
// It exits with 0 when every behaviour was as it has to be, 1 when one was not, 2 when the flags are wrong. Nothing
// but behaviour is held: timings are printed.
package main
