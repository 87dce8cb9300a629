// Package faults puts the pool through real faults, on enclaves that are processes of their own, and holds what it
// sees against the figures that the project promises: which calls failed and how, and how long things took.
// It judges the pool alone, used directly in this process; the gateway is not in the picture, and what needs no process
// (a virtual clock, say) is left to the packages' own tests.
// Start reading with Run in run.go, then any row, such as row01.go.
package faults
