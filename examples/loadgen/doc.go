// Command loadgen puts load on a signer service, usually the gateway, verifies the signatures and
// reports latencies, errors and throughput (package internal/load does the work). With -compare it goes to
// enclaves directly, in several ways side by side (package internal/load/compare).
// It has no opinion on what is fast enough: the exit code says whether signatures were right and calls
// succeeded, and scripts judge the figures by the JSON report.
// Start reading with run in main.go; `loadgen -help` lists the flags.
package main
