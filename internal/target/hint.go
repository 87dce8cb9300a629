package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// failed wraps the error of op on t with what it usually means for this kind of target.
func (t Target) failed(op string, err error) error {
	name := t.String()
	if name == "" {
		name = "(zero Target)"
	}
	return &DialError{Target: name, Op: op, Err: err, Hint: t.hint(op, err)}
}

func (t Target) hint(op string, err error) string {
	if errors.Is(err, context.Canceled) {
		return "" // the caller gave up; nothing is wrong with the target
	}
	if errors.Is(err, ErrVsockUnsupported) {
		return "use unix: or host:port for development on this system"
	}
	errno, _ := errors.AsType[syscall.Errno](err)
	late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errno == syscall.ETIMEDOUT
	switch t.kind {
	case kindVsock:
		if op == opListen {
			return t.hintVsockListen(err, errno)
		}
		return t.hintVsock(err, errno, late)
	case kindUnix, kindAbstract:
		if op == opListen {
			return hintUnixListen(errno)
		}
		return hintUnix(errno)
	case kindHvsock:
		return t.hintHvsock(op, err, errno, late)
	case kindTCP:
		switch {
		case errno == syscall.ECONNREFUSED:
			return "nothing listens on that port"
		case errno == syscall.EADDRINUSE:
			return "another process listens on that port"
		case late:
			return "no answer in time: check the address, the route and firewalls"
		}
	}
	return ""
}

// hintVsockDenied is for errnos of socket(2), the same for both directions; empty: it is something else.
func hintVsockDenied(err error, errno syscall.Errno) string {
	switch errno {
	case syscall.EPERM, syscall.EACCES:
		if fromSocketCall(err) {
			return "this process may not open AF_VSOCK sockets: default container seccomp profiles deny the family, so allow socket(AF_VSOCK) in the profile"
		}
	case syscall.EAFNOSUPPORT:
		return "the kernel has no vsock support: load the vsock module and the machine's transport (vhost_vsock, vmw_vsock_virtio_transport or vsock_loopback)"
	}
	return ""
}

func (t Target) hintVsock(err error, errno syscall.Errno, late bool) string {
	if denied := hintVsockDenied(err, errno); denied != "" {
		return denied
	}
	switch errno {
	case syscall.EPERM, syscall.EACCES:
		return "a security policy denies the connection"
	case syscall.ENODEV, syscall.ENETUNREACH, syscall.EHOSTUNREACH:
		if t.cid == cidLocal {
			return "this machine has no vsock loopback: load the vsock_loopback module"
		}
		return fmt.Sprintf("no guest has CID %d, or this machine has no vsock device: check that the enclave runs and its CID", t.cid)
	case syscall.ECONNRESET, syscall.ECONNREFUSED:
		return fmt.Sprintf("nothing listens on port %d in the guest, or the guest was killed: check that its server has started", t.port)
	}
	if late {
		return "the guest does not answer: it is booting or hung, or no guest has this CID"
	}
	return ""
}

func (t Target) hintVsockListen(err error, errno syscall.Errno) string {
	if denied := hintVsockDenied(err, errno); denied != "" {
		return denied
	}
	switch errno {
	case syscall.EACCES:
		return "ports below 1024 need CAP_NET_BIND_SERVICE"
	case syscall.EADDRNOTAVAIL:
		return "this machine has no vsock loopback: load the vsock_loopback module"
	case syscall.EADDRINUSE:
		return fmt.Sprintf("another process listens on vsock port %d", t.port)
	}
	return ""
}

func hintUnix(errno syscall.Errno) string {
	switch errno {
	case syscall.ECONNREFUSED:
		return "nobody listens on the socket: its server has stopped, or an abstract socket has no server yet"
	case syscall.ENOENT:
		return "no such socket: its server has not started, or the path is not visible in this container"
	case syscall.EACCES:
		return "no permission: connecting needs write permission on the socket and search permission on its directories"
	case syscall.EPERM:
		return "a security policy denies the connection"
	case syscall.EAGAIN:
		return "the listener's queue is full: its server is hung or overloaded"
	case syscall.ENOTSOCK, syscall.EPROTOTYPE:
		return "the path is no stream socket"
	}
	return ""
}

func hintUnixListen(errno syscall.Errno) string {
	switch errno {
	case syscall.EADDRINUSE:
		return "another process answers on the socket, or the path is no socket"
	case syscall.ENOENT:
		return "the directory does not exist"
	case syscall.EACCES, syscall.EPERM:
		return "no permission to create a socket in the directory"
	}
	return ""
}

func (t Target) hintHvsock(op string, err error, errno syscall.Errno, late bool) string {
	switch {
	case op == opListen:
		return "the hypervisor listens on this socket; for guest-to-host connections listen on unix:" + t.addr + "_PORT"
	case op == opDial:
		if errno == syscall.ECONNREFUSED || errno == syscall.ENOENT {
			return "the hypervisor does not run or has another socket path: check the uds_path of its vsock device"
		}
		return hintUnix(errno)
	case errors.Is(err, ErrNotHybridVsock):
		return "what listens on this path is not a hypervisor's vsock socket"
	case errors.Is(err, errNoAnswer), errno == syscall.ECONNRESET, errno == syscall.EPIPE:
		return fmt.Sprintf("nothing listens on vsock port %d in the guest: check that its server has started", t.port)
	case late:
		return "the hypervisor took the connection but the guest does not answer: it is booting, paused or hung"
	}
	return ""
}
