// Package etcdtest runs clusters of real etcd servers on this machine, whose
// members can be killed, frozen and brought back: for tests, and for the demo.
//
// It builds the server from the pinned module beside it, which takes Go and its
// module proxy and a minute the first time; or it uses the one that ENCLAVEPOOL_ETCD
// names, Debian's etcd-server for instance.
//
// Start with New in a test, Start elsewhere.
package etcdtest
