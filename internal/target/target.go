package target

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// kind is the form a target was written in.
type kind uint8

const (
	kindNone kind = iota // the zero Target: not an address
	kindVsock
	kindUnix
	kindAbstract
	kindHvsock
	kindTCP
)

// The scheme in front of the first colon. A target without one of these is host:port.
const (
	schemeVsock    = "vsock"
	schemeUnix     = "unix"
	schemeAbstract = "unix-abstract"
	schemeHvsock   = "hvsock"
)

// Target is the address of one enclave. Targets are made by [Parse], are comparable with ==, and two
// spellings of the same address ("vsock://16:5000", "vsock:16:5000") are equal. The zero Target is no
// address: dialing it or listening on it fails.
type Target struct {
	kind kind
	addr string // path (unix, hvsock), name without the leading NUL (unix-abstract), host (tcp)
	cid  uint32 // vsock
	port uint32 // vsock, hvsock, tcp
}

// String returns the canonical form: Parse(t.String()) yields t again. It is empty for the zero Target.
func (t Target) String() string {
	port := strconv.FormatUint(uint64(t.port), 10)
	switch t.kind {
	case kindVsock:
		return schemeVsock + ":" + strconv.FormatUint(uint64(t.cid), 10) + ":" + port
	case kindUnix:
		if strings.HasPrefix(t.addr, "//") {
			// After "unix:" two slashes would announce a host, so such a path needs the long form.
			return schemeUnix + "://" + t.addr
		}
		return schemeUnix + ":" + t.addr
	case kindAbstract:
		return schemeAbstract + ":" + t.addr
	case kindHvsock:
		return schemeHvsock + "://" + t.addr + ":" + port
	case kindTCP:
		return net.JoinHostPort(t.addr, port)
	}
	return ""
}

// Network returns the kind of transport: "vsock", "unix" (abstract sockets too), "hvsock" or "tcp"; empty for
// the zero Target.
func (t Target) Network() string {
	switch t.kind {
	case kindVsock:
		return "vsock"
	case kindUnix, kindAbstract:
		return "unix"
	case kindHvsock:
		return "hvsock"
	case kindTCP:
		return "tcp"
	}
	return ""
}

// Abstract reports whether the target is an abstract unix socket, whose name has no owner and no mode.
func (t Target) Abstract() bool { return t.kind == kindAbstract }

// SocketFile returns the path of the socket file that is connected to, of a unix or hvsock target; empty: there is none.
func (t Target) SocketFile() string {
	if t.kind == kindUnix || t.kind == kindHvsock {
		return t.addr
	}
	return ""
}

// Local reports whether the bytes stay between this machine and its own guests: true for vsock, unix sockets,
// hvsock and TCP to a loopback address or to "localhost"; false when they can leave the host. Names other than
// "localhost" are not looked up and count as remote.
func (t Target) Local() bool {
	switch t.kind {
	case kindVsock, kindUnix, kindAbstract, kindHvsock:
		return true
	case kindTCP:
		if ip, err := netip.ParseAddr(t.addr); err == nil {
			return ip.IsLoopback()
		}
		return t.addr == "localhost"
	}
	return false
}
