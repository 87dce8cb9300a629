package pooltest

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// memoryPipe returns the two ends of a connection.
func memoryPipe(addr memoryAddr) (client, server net.Conn) {
	up, down := newHalf(), newHalf()
	return &memoryConn{addr: addr, in: down, out: up}, &memoryConn{addr: addr, in: up, out: down}
}

type memoryConn struct {
	addr    memoryAddr
	in, out *half
}

func (c *memoryConn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	if err != nil && err != io.EOF {
		err = opError("read", c.addr, err)
	}
	return n, err
}

func (c *memoryConn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	if err != nil {
		err = opError("write", c.addr, err)
	}
	return n, err
}

func (c *memoryConn) Close() error {
	if !c.in.closeReader() {
		return opError("close", c.addr, net.ErrClosed)
	}
	c.out.closeWriter()
	return nil
}

func (c *memoryConn) LocalAddr() net.Addr  { return c.addr }
func (c *memoryConn) RemoteAddr() net.Addr { return c.addr }

func (c *memoryConn) SetDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.reading, t)
	c.out.setDeadline(&c.out.writing, t)
	return nil
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.reading, t)
	return nil
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writing, t)
	return nil
}

// halfSize is how many bytes one direction buffers, about a socket's.
const halfSize = 64 << 10

// half is one direction of a connection. Both sides wait on a sync.Cond, which
// blocks a goroutine durably.
type half struct {
	mu               sync.Mutex
	changed          sync.Cond
	buf              bytes.Buffer
	readerGone       bool
	writerGone       bool
	reading, writing deadline
}

// deadline wakes both sides when it passes.
type deadline struct {
	at    time.Time // zero: none
	timer *time.Timer
}

func newHalf() *half {
	h := &half{}
	h.changed.L = &h.mu
	return h
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (h *half) setDeadline(d *deadline, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = at
	if wait := time.Until(at); !at.IsZero() && wait > 0 && !h.readerGone && !h.writerGone {
		d.timer = time.AfterFunc(wait, func() {
			h.mu.Lock()
			h.changed.Broadcast()
			h.mu.Unlock()
		})
	}
	h.changed.Broadcast()
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readerGone:
			return 0, net.ErrClosed
		case h.reading.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case h.buf.Len() > 0:
			h.changed.Broadcast() // there is room now
			return h.buf.Read(p)
		case h.writerGone:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

func (h *half) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	written := 0
	for {
		switch {
		case h.writerGone:
			return written, net.ErrClosed
		case h.writing.passed():
			return written, os.ErrDeadlineExceeded
		case h.readerGone:
			return written, syscall.EPIPE
		}
		n := min(halfSize-h.buf.Len(), len(p)-written)
		h.buf.Write(p[written : written+n])
		written += n
		h.changed.Broadcast()
		if written == len(p) {
			return written, nil
		}
		h.changed.Wait()
	}
}

// closeReader reports whether it was the first to do so.
func (h *half) closeReader() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := !h.readerGone
	h.readerGone = true
	h.endLocked()
	return first
}

func (h *half) closeWriter() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writerGone = true
	h.endLocked()
}

// endLocked lets no timer outlive the connection. A deadline of the side that
// remains no longer matters: nothing waits on a half whose other end is gone.
func (h *half) endLocked() {
	for _, d := range []*deadline{&h.reading, &h.writing} {
		if d.timer != nil {
			d.timer.Stop()
			d.timer = nil
		}
	}
	h.changed.Broadcast()
}
