// Package lb puts many connections under one grpc.ClientConn and sends every
// call on the connection its owner has reserved for it.
//
// It opens, binds and closes SubConns and carries picks between gRPC and the
// owner; how many there are, when one is dialled again and who may send is
// decided elsewhere. It is the only package that imports gRPC's experimental
// balancer API, so that a change of that API is met in one place.
//
// Start with Channel; policy.go is the side that gRPC sees.
package lb
