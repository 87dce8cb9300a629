// Command benchreport loads a gateway and two enclaves, all processes of their
// own, and writes a report: latency over time with every event of the pool
// marked on it, what the pool is held to and what was found. It is steady load,
// a fixed rate, an enclave that restarts, slow calls, and a pool that is
// exhausted on purpose.
//
//	go run ./benchreport -duration 60s -o /tmp/report
package main
