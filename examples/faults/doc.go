// Command faults puts the pool through the faults of docs/reliability.md, on fake enclaves that are processes of their
// own, and reports what it saw beside what the pool is held to. It ends by itself, in about ten minutes.
// It is no benchmark: the callers, the pool and the enclaves share this machine's cores.
// `faults -help` lists the flags; the rows are in examples/internal/faults.
package main
