package target

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

var (
	errNotListenable       = errors.New("an hvsock target cannot be listened on")
	errAbstractUnsupported = fmt.Errorf("abstract unix sockets need Linux: %w", errors.ErrUnsupported)
)

// Listen listens on the target; for enclaves that run on this machine in tests and demonstrations. For a vsock target
// the CID is that of the enclave as others see it, so the listener takes connections to any CID, except that CID 1
// listens for this machine alone. A unix socket left behind by a process that has gone is replaced; one that somebody
// answers on is not. An hvsock target cannot be listened on: the hypervisor does that. The error is a [*DialError].
func (t Target) Listen() (net.Listener, error) {
	l, err := t.listen()
	if err != nil {
		return nil, t.failed(opListen, err)
	}
	return l, nil
}

func (t Target) listen() (net.Listener, error) {
	switch t.kind {
	case kindVsock:
		cid := uint32(cidAny)
		if t.cid == cidLocal {
			cid = cidLocal
		}
		l, err := listenVsock(cid, t.port)
		if err != nil {
			return nil, err
		}
		return splitListener{l}, nil
	case kindUnix:
		return listenUnix(t.addr)
	case kindAbstract:
		if !abstractSockets {
			return nil, errAbstractUnsupported
		}
		return net.Listen("unix", "@"+t.addr)
	case kindHvsock:
		return nil, errNotListenable
	case kindTCP:
		return net.Listen("tcp", t.hostPort())
	}
	return nil, errZeroTarget
}

// listenUnix listens on path and replaces a stale socket there. Two processes that start at the same moment on the same
// stale path can still race for it; a server that must survive that needs a lock file of its own.
func listenUnix(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	before, serr := os.Lstat(path)
	if serr != nil || before.Mode()&os.ModeSocket == 0 {
		return nil, err // never remove what is not a socket
	}
	conn, derr := net.DialTimeout("unix", path, time.Second)
	if derr == nil {
		conn.Close()
		return nil, err
	}
	if !errors.Is(derr, syscall.ECONNREFUSED) {
		return nil, err // a full queue or a denied connect does not mean that nobody listens
	}
	if now, serr := os.Lstat(path); serr != nil || !os.SameFile(before, now) {
		return nil, err // somebody else replaced it meanwhile
	}
	if rerr := os.Remove(path); rerr != nil {
		return nil, rerr
	}
	return net.Listen("unix", path)
}
