package faults

import (
	"context"
	"net"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
)

// tags are plaintext credentials that number the connections, so that a call can tell which one carried it.
type tags struct {
	credentials.TransportCredentials
	last *atomic.Uint64
}

func newTags() tags { return tags{insecure.NewCredentials(), new(atomic.Uint64)} }

// tag is the number of a connection.
type tag struct {
	credentials.AuthInfo
	number uint64
}

// ClientHandshake implements credentials.TransportCredentials.
func (t tags) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := t.TransportCredentials.ClientHandshake(ctx, authority, raw)
	return conn, tag{info, t.last.Add(1)}, err
}

// Clone implements credentials.TransportCredentials.
func (t tags) Clone() credentials.TransportCredentials {
	return tags{t.TransportCredentials.Clone(), t.last}
}

// tagOf is the number of the connection that a call was sent on; 0: it has none.
func tagOf(p *peer.Peer) uint64 {
	if t, ok := p.AuthInfo.(tag); ok {
		return t.number
	}
	return 0
}
