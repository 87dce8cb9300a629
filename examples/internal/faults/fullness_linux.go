package faults

import (
	"golang.org/x/sys/unix"
)

// queued is how many bytes of what was written to a socket its peer has not read yet, as the kernel counts them.
func queued(fd uintptr) (int, error) { return unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }

// room is how many bytes the kernel queues for a socket at most.
func room(fd uintptr) (int, error) {
	return unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
}
