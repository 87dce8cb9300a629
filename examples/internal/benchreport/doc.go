// Package benchreport loads a gateway and its enclaves, which are processes of
// their own, watches them meanwhile, and writes what it saw as a report with
// plots, beside what the pool is held to.
//
// It does not make the load (package load does) nor the processes (package
// stack does), and judges nothing but its own runs. Start with Run; scenario.go
// is the list of what is run.
package benchreport
