// Package routing says which enclave serves a key: it has the Selectors that
// come with the library, and the View of the enclaves that every Selector reads.
//
// It opens no connection, knows nothing of gRPC and does not find out how an
// enclave is: package pool makes the Views and carries the calls.
//
// Start with Selector; docs/routing.md says how to write one, and package
// routingtest checks it.
package routing
