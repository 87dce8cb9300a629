// Package etcddir is a routing.Directory in an etcd cluster: for gateways on
// several hosts that share their enclaves.
//
// It has no server in it and looks after none. It needs etcd 3.5.8 or newer (3.4.25
// of the older line): before, a watch that was interrupted could miss a change.
// Whoever may write below its prefix decides where keys are looked for: give the
// gateways an etcd role for the prefix, and TLS, by the client that is handed in.
//
// Start with New. Package etcdtest runs etcd clusters for tests.
package etcddir
