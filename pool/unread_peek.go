//go:build linux || darwin

package pool

import (
	"net"
	"syscall"
)

// unread tells whether the peer has sent bytes that nobody here has read yet;
// false when that cannot be told. It reads none, and does not wait.
func unread(c net.Conn) bool {
	var raw syscall.RawConn
	var err error
	switch c := c.(type) {
	case interface {
		RawRead() (syscall.RawConn, error) // a wrapper of package target
	}:
		raw, err = c.RawRead()
	case syscall.Conn:
		raw, err = c.SyscallConn()
	default:
		return false
	}
	if err != nil {
		return false
	}
	n := 0
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, _ = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT) // n is what it says in any case
	})
	return err == nil && n > 0
}
