package target

import (
	"net"
	"sync"
	"syscall"
)

// MaxVsockWrite is the largest write in bytes that reaches the kernel on a vsock or hvsock connection of this package.
// Host kernels with non-linear socket buffers in their vsock transport have corrupted single writes of about 32 KiB
// and more.
const MaxVsockWrite = 16 << 10

// splitConn writes in pieces of at most MaxVsockWrite. It embeds the interface, not the concrete connection, so that
// no faster way past Write (io.ReaderFrom, the vectored writes of net.Buffers) is promoted.
type splitConn struct {
	net.Conn
	writing sync.Mutex // keeps the pieces of one Write together when several goroutines write
}

// splitRawConn is a splitConn whose underlying connection gives access to its descriptor, which readers use to wait
// for data before they allocate a buffer. Writing through it is not split.
type splitRawConn struct {
	*splitConn
	syscall.Conn
}

// RawRead gives access to the descriptor for reading: reads are not touched here, so whoever follows them (package
// h2tap) may wait and read without a buffer held meanwhile.
func (c splitRawConn) RawRead() (syscall.RawConn, error) { return c.SyscallConn() }

func splitWrites(c net.Conn) net.Conn {
	split := &splitConn{Conn: c}
	if raw, ok := c.(syscall.Conn); ok {
		return splitRawConn{split, raw}
	}
	return split
}

// Write writes p in pieces. It returns how many bytes were written and the error of the piece that failed.
func (c *splitConn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for {
		piece := p[n:min(len(p), n+MaxVsockWrite)]
		m, err := c.Conn.Write(piece)
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// splitListener splits the writes of the connections it accepts.
type splitListener struct{ net.Listener }

func (l splitListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return splitWrites(c), nil
}
