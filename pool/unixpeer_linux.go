package pool

import (
	"io/fs"
	"net"
	"syscall"
)

// unixCredentials asks the kernel who listens at the other end of a unix socket;
// nil: it is none, or the connection does not show its socket.
func unixCredentials(c net.Conn) *UnixCredentials {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	var found *UnixCredentials
	err = raw.Control(func(fd uintptr) {
		// Other families answer SO_PEERCRED too, and say nothing by it.
		if family, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_DOMAIN); err != nil || family != syscall.AF_UNIX {
			return
		}
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			found = &UnixCredentials{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}
		}
	})
	if err != nil {
		return nil // closed meanwhile
	}
	return found
}

func fileOwner(file fs.FileInfo) (uid, gid uint32, ok bool) {
	s, ok := file.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return s.Uid, s.Gid, true
}
