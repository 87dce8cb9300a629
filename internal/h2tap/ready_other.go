//go:build !unix

package h2tap

import (
	"net"
	"syscall"
)

// newRawReader does without: a Windows or WebAssembly socket is not read through a file descriptor.
func newRawReader(c net.Conn, _ syscall.RawConn) readyReader { return plainReader{c} }
