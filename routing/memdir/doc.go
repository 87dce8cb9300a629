// Package memdir is a routing.Directory in memory, for tests and for programs
// whose keys do not outlive them.
//
// It is shared by those who have the same value, and gone with the process:
// package routing/boltdir keeps a file, routing/etcddir asks an etcd.
//
// Start with New.
package memdir
