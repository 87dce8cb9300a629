//go:build !linux

package target

import (
	"context"
	"net"
)

const abstractSockets = false

var (
	dialVsock   = func(context.Context, uint32, uint32) (net.Conn, error) { return nil, ErrVsockUnsupported }
	listenVsock = func(uint32, uint32) (net.Listener, error) { return nil, ErrVsockUnsupported }
)
