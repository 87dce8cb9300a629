package h2tap

import (
	"net"
	"syscall"

	"github.com/mdlayher/vsock"
	"google.golang.org/grpc/mem"
)

// readyReader is what grpc-go (1.85 and later) looks for in a connection: a read that takes its buffer from the pool
// only once there is something to read, so that an idle connection holds none (32 KiB by default). A connection that
// lacks it is read through a bufio.Reader, buffer held for life. grpc-go does the same by itself for a *net.TCPConn
// or *net.UnixConn, which a wrapper hides and of which a vsock connection is neither.
type readyReader interface {
	ReadOnReady(bufSize int, pool mem.BufferPool) (*[]byte, int, error)
}

// RawReader is implemented by a connection that wraps a socket and whose Read is the socket's own, nothing decrypted,
// added or held back. The tap may then read the socket itself when the poller says that it is readable. A wrapper that
// holds bytes back (a tls.Conn, a bufio.Reader inside) must not implement it, nor embed a type that does.
type RawReader interface {
	net.Conn
	// RawRead returns the socket that Read reads.
	RawRead() (syscall.RawConn, error)
}

// ReadOnReady waits until there is something to read, takes a buffer of bufSize bytes from pool, reads once, and
// returns the buffer and the number of bytes in it; the caller gives the buffer back. The buffer is nil when no byte
// came. gRPC prefers it to Read. Over a connection that cannot wait without a buffer, such as a tls.Conn, the buffer
// is taken before the wait.
func (c *Conn) ReadOnReady(bufSize int, pool mem.BufferPool) (*[]byte, int, error) {
	if c.holder == nil {
		b, n, err := c.ready.ReadOnReady(bufSize, pool)
		if n > 0 {
			c.passed((*b)[:n])
		}
		if err != nil {
			c.failed(err)
		}
		if c.scanner.fromGoAway == 0 {
			return b, n, err
		}
		if n, err = c.holdFrom((*b)[:n], err); n > 0 {
			return b, n, err
		}
		pool.Put(b)
	}
	return c.readyHeld(bufSize, pool)
}

// readyHeld is ReadOnReady while there is a holder.
func (c *Conn) readyHeld(bufSize int, pool mem.BufferPool) (*[]byte, int, error) {
	if bufSize == 0 {
		return nil, 0, nil
	}
	var b *[]byte
	putBack := func() {
		if b != nil {
			pool.Put(b)
			b = nil
		}
	}
	err := c.more(func() ([]byte, error) {
		putBack()
		var n int
		var err error
		if b, n, err = c.ready.ReadOnReady(bufSize, pool); n == 0 {
			return nil, err
		}
		return (*b)[:n], err
	})
	switch {
	case err != nil:
		putBack()
		return nil, 0, err
	case c.holder == nil:
		putBack()
		return c.ReadOnReady(bufSize, pool)
	case b == nil:
		b = pool.Get(bufSize)
	}
	n := copy(*b, c.holder.out)
	c.holder.out = c.holder.out[n:]
	return b, n, nil
}

// newReadyReader returns the best way to read c when ready. A SyscallConn method does not prove that the socket's bytes
// are the connection's: what the TLS credentials return has one, and its socket carries ciphertext. Hence a list of
// exact types, and for wrappers a method that says so.
func newReadyReader(c net.Conn) readyReader {
	switch c := c.(type) {
	case readyReader:
		return c
	case RawReader:
		if raw, err := c.RawRead(); err == nil {
			return newRawReader(c, raw)
		}
	case *net.TCPConn, *net.UnixConn, *vsock.Conn:
		if raw, err := c.(syscall.Conn).SyscallConn(); err == nil {
			return newRawReader(c, raw)
		}
	}
	return plainReader{c}
}

// plainReader waits inside Read, with the buffer in its hands.
type plainReader struct{ conn net.Conn }

func (r plainReader) ReadOnReady(bufSize int, pool mem.BufferPool) (*[]byte, int, error) {
	b := pool.Get(bufSize)
	n, err := r.conn.Read(*b)
	if n == 0 {
		pool.Put(b)
		b = nil
	}
	return b, n, err
}
