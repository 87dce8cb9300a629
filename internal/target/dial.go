package target

import (
	"context"
	"net"
	"strconv"
)

// Dial makes one attempt to connect. It returns when connected, when the attempt failed or when ctx ends, whichever is
// first; a connection that comes about as ctx ends is closed. ctx's end does not touch a connection once returned.
//
// Without a deadline in ctx a vsock attempt ends after the kernel's 2 s, TCP after the kernel's minutes, and the
// handshake of hvsock may wait for ever, so give one. The error is a [*DialError].
//
// Connections to vsock and hvsock targets split writes at [MaxVsockWrite].
func (t Target) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, t.failed(opDial, err)
	}
	conn, op, err := t.dial(ctx)
	if err == nil && ctx.Err() != nil {
		conn.Close() // it came too late; the caller has gone or is about to
		err = ctx.Err()
	}
	if err != nil {
		return nil, t.failed(op, err)
	}
	return conn, nil
}

func (t Target) dial(ctx context.Context) (conn net.Conn, op string, err error) {
	var d net.Dialer
	switch t.kind {
	case kindVsock:
		conn, err = dialVsock(ctx, t.cid, t.port)
		if err != nil {
			return nil, opDial, err
		}
		return splitWrites(conn), opDial, nil
	case kindUnix:
		conn, err = d.DialContext(ctx, "unix", t.addr)
		return conn, opDial, err
	case kindAbstract:
		if !abstractSockets {
			return nil, opDial, errAbstractUnsupported
		}
		conn, err = d.DialContext(ctx, "unix", "@"+t.addr)
		return conn, opDial, err
	case kindHvsock:
		conn, err = d.DialContext(ctx, "unix", t.addr)
		if err != nil {
			return nil, opDial, err
		}
		if err := connectGuest(ctx, conn, t.port); err != nil {
			conn.Close()
			return nil, opHandshake, err
		}
		return splitWrites(conn), opHandshake, nil
	case kindTCP:
		conn, err = d.DialContext(ctx, "tcp", t.hostPort())
		return conn, opDial, err
	}
	return nil, opDial, errZeroTarget
}

func (t Target) hostPort() string {
	return net.JoinHostPort(t.addr, strconv.FormatUint(uint64(t.port), 10))
}
