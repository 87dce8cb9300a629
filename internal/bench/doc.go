// Command bench measures enclavepool beside its peers in one run on one
// machine, and prints one table of ratios with the goals beside them. It does
// not judge throughput of real enclaves, and its absolute times belong to the
// machine that they were taken on. Start reading at main.go, then sections.go,
// which lists what is measured; each section has a file of its own.
package main
