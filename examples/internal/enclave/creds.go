package enclave

import (
	"context"
	"errors"
	"io"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// watched is a server's credentials, with every connection wrapped once the handshake is done: that is
// where plain HTTP/2 frames pass, whatever the credentials are.
type watched struct {
	credentials.TransportCredentials
	s *Server
}

// watchedInfo lets a call find its connection through its peer.
type watchedInfo struct {
	credentials.AuthInfo
	conn *conn
}

// ServerHandshake implements credentials.TransportCredentials.
func (w watched) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	n := w.s.count.accepted.Add(1)
	if every := w.s.faults.Load().DropEveryConns; every > 0 && n%every == 0 {
		w.s.count.dropped.Add(1)
		_ = raw.Close() // it is being thrown away
		return nil, nil, io.EOF
	}
	c, info, err := w.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	cn := newConn(c, w.s)
	w.s.remember(cn)
	return cn, watchedInfo{info, cn}, nil
}

// ClientHandshake implements credentials.TransportCredentials: these are for servers.
func (watched) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("server credentials used by a client")
}

// Clone implements credentials.TransportCredentials.
func (w watched) Clone() credentials.TransportCredentials {
	return watched{w.TransportCredentials.Clone(), w.s}
}

// connOf returns the connection a call came on, nil when the call did not come through watched.
func connOf(ctx context.Context) *conn {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(watchedInfo); ok {
			return info.conn
		}
	}
	return nil
}
