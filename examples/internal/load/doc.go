// Package load drives a signer service: callers sign digests for some time, every signature can be
// verified, and latencies, errors and throughput are reported, in all and over time.
// It starts no server and opens no connections: it is given them, so it measures a gateway, an enclave
// or a pool alike. In an open loop latency counts from the moment a call was meant to start, so a
// stall costs every call it held up and not only the first.
// Start reading with Config and Run.
package load
