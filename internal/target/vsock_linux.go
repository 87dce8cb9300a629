package target

import (
	"context"
	"net"

	"github.com/mdlayher/vsock"
)

const abstractSockets = true

// The two calls that need AF_VSOCK; variables, so that tests can show every errno on machines without it.
var (
	dialVsock = func(ctx context.Context, cid, port uint32) (net.Conn, error) {
		c, err := vsock.DialContext(ctx, cid, port, nil)
		if err != nil {
			return nil, err // not c: a nil *vsock.Conn in an interface is not nil
		}
		return c, nil
	}
	// listenVsock uses ListenContextID, since Listen needs /dev/vsock, which a guest or container may not have.
	listenVsock = func(cid, port uint32) (net.Listener, error) {
		l, err := vsock.ListenContextID(cid, port, nil)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
)
