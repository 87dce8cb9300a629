//go:build unix

package h2tap

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"google.golang.org/grpc/mem"
)

// rawReader reads a socket inside the poller's callback, where the buffer can be handed back before each wait.
// Its fields are the callback's arguments and results; they live here, and not in a closure, to save an allocation.
type rawReader struct {
	conn net.Conn // for the addresses in errors
	raw  syscall.RawConn
	try  func(fd uintptr) bool // r.attempt, bound once

	size int
	pool mem.BufferPool
	buf  *[]byte
	n    int
	err  error
}

func newRawReader(c net.Conn, raw syscall.RawConn) readyReader {
	r := &rawReader{conn: c, raw: raw}
	r.try = r.attempt
	return r
}

func (r *rawReader) ReadOnReady(bufSize int, pool mem.BufferPool) (*[]byte, int, error) {
	r.size, r.pool = bufSize, pool
	waitErr := r.raw.Read(r.try)
	buf, n, err := r.buf, r.n, r.err
	r.pool, r.buf, r.n, r.err = nil, nil, 0, nil

	switch {
	case buf != nil && n > 0:
		return buf, n, nil
	case buf != nil && bufSize > 0: // the peer closed; read(2) calls that 0 bytes
		pool.Put(buf)
		return nil, 0, io.EOF
	case buf != nil:
		pool.Put(buf)
		return nil, 0, nil
	case waitErr != nil:
		return nil, 0, r.opError(waitError(waitErr))
	default:
		return nil, 0, r.opError(os.NewSyscallError("read", err))
	}
}

// attempt reads once and reports whether the wait is over. Without data it leaves no buffer behind.
func (r *rawReader) attempt(fd uintptr) bool {
	r.buf = r.pool.Get(r.size)
	for {
		// package syscall and not x/sys/unix: the race detector pairs its reads with package net's writes.
		if r.n, r.err = syscall.Read(int(fd), *r.buf); r.err != syscall.EINTR {
			break
		}
	}
	if r.err == nil {
		return true
	}
	r.pool.Put(r.buf)
	r.buf = nil
	return r.err != syscall.EAGAIN && r.err != syscall.EWOULDBLOCK
}

// waitError returns what ended a wait: the deadline, or else the connection was closed here, which package net says
// with net.ErrClosed and an os.File, as under a vsock connection, with an error that nothing can test for.
func waitError(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // "raw-read": the caller asked for a read
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", net.ErrClosed, err)
}

// opError gives err the shape a Read of the connection would have given it.
func (r *rawReader) opError(err error) error {
	addr := r.conn.RemoteAddr()
	op := &net.OpError{Op: "read", Source: r.conn.LocalAddr(), Addr: addr, Err: err}
	if addr != nil {
		op.Net = addr.Network()
	}
	return op
}
