// Package boltdir is a routing.Directory in one file, a bbolt database: for a
// gateway that has its enclaves to itself.
//
// One process at a time has the file open. What is acknowledged is on the disk, and
// outlives kill -9 and a loss of power as far as the disk keeps what it has synced.
// It is not shared by gateways on several hosts: package routing/etcddir is for them.
//
// Start with Open.
package boltdir
