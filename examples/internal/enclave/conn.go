package enclave

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// conn is one connection to the server, able to put frames of its own between those of gRPC's
// transport. RST_STREAM and a changed SETTINGS are sent like this because the transport has no way of
// being asked for them; they reach the client exactly as if it had.
//
// Towards the client a frame goes out at once when the transport's last write ended at a frame's end,
// and otherwise right behind the frame that write began. Towards the server a read that is waiting is
// woken by a read deadline in the past.
type conn struct {
	net.Conn
	server *Server

	out      sync.Mutex // held while writing to the client
	outPos   tracker    // guarded by out
	outFirst bool       // guarded by out: something was written
	outQueue queue      // frames for the client

	in      sync.Mutex // held while changing inQueue and the read deadline together
	inQueue queue      // frames for the server
	inPos   tracker    // this and all below belong to the goroutine that reads
	inRest  []byte     // read from the client, or queued; not yet given to the server
	inBuf   []byte     // the memory of inRest, for use again
	opened  uint32     // the stream of the header block last given to the server

	closing sync.Once
}

func newConn(c net.Conn, s *Server) *conn {
	cn := &conn{Conn: c, server: s}
	cn.inPos.skip(len(http2.ClientPreface))
	return cn
}

// Write writes p and, when p ends where a frame ends, the frames that wait for such a place.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.write(p)
	c.flush()
	return n, err
}

func (c *conn) write(p []byte) (int, error) {
	c.out.Lock()
	defer c.out.Unlock()
	b := p
	if !c.outFirst {
		c.outFirst = true
		b = c.server.firstBytes(p)
	}
	n, err := c.Conn.Write(b)
	for rest := b[:n]; len(rest) > 0; {
		step, _ := c.outPos.next(rest)
		rest = rest[step:]
	}
	return n, err
}

// send puts a frame into what goes to the client. It may block as a write does.
func (c *conn) send(frame []byte) {
	c.outQueue.put(frame)
	c.flush()
}

// flush writes the waiting frames unless a frame of the transport's is half written, or somebody else
// is writing. No frame is forgotten: whoever holds the lock looks at the queue again after giving it
// up, and a half-written frame has its second half written sooner or later.
func (c *conn) flush() {
	for c.outQueue.any.Load() {
		if !c.out.TryLock() {
			return
		}
		at := c.outFirst && c.outPos.boundary()
		if at {
			_, _ = c.Conn.Write(c.outQueue.take()) // the transport meets the same error in its next write
		}
		c.out.Unlock()
		if !at {
			return
		}
	}
}

// Read reads what the client sent, at most up to the end of one header block: while the transport
// handles that, opened names its stream.
func (c *conn) Read(p []byte) (int, error) {
	for {
		if c.inQueue.any.Load() {
			c.takeQueued()
		}
		if len(c.inRest) > 0 {
			n := c.give(p[:copy(p, c.inRest)])
			c.inRest = c.inRest[n:]
			return n, nil
		}
		n, err := c.Conn.Read(p)
		if n > 0 {
			given := c.give(p[:n])
			c.inBuf = append(c.inBuf[:0], p[given:n]...)
			c.inRest = c.inBuf
			return given, nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && c.inQueue.any.Load() {
			continue
		}
		return n, err
	}
}

// takeQueued ends the wake-up and, at a boundary, puts the queued frames before what was read. Both
// happen under the lock of receive, so no past deadline is left behind without a frame to explain it.
func (c *conn) takeQueued() {
	c.in.Lock()
	defer c.in.Unlock()
	_ = c.Conn.SetReadDeadline(time.Time{}) // fails on a closed connection only, as the read will
	if c.inPos.boundary() {
		c.inRest = append(c.inQueue.take(), c.inRest...)
	}
}

// give returns how much of p the server may have now.
func (c *conn) give(p []byte) int {
	for n := 0; n < len(p); {
		step, headersEnd := c.inPos.next(p[n:])
		n += step
		if headersEnd {
			c.opened = c.inPos.stream()
			return n
		}
	}
	return len(p)
}

// receive puts a frame into what the server reads from the client.
func (c *conn) receive(frame []byte) {
	c.in.Lock()
	defer c.in.Unlock()
	c.inQueue.put(frame)
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // fails on a closed connection only, which needs no frames
}

// reset ends a stream on both sides: the client gets RST_STREAM with the code, and the server believes
// that the client sent one, so it stops the call and sends nothing more for that stream.
func (c *conn) reset(stream uint32, code http2.ErrCode) {
	c.send(rstFrame(stream, code))
	c.receive(rstFrame(stream, http2.ErrCodeCancel))
}

// drop closes the connection without a word of farewell: on TCP with RST, elsewhere with what the
// kernel makes of a close.
func (c *conn) drop() {
	if l, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0) // not essential: without it the client sees FIN in place of RST
	}
	_ = c.Close()
}

// Close closes the connection and takes it off the server's list.
func (c *conn) Close() error {
	c.closing.Do(func() { c.server.forget(c) })
	return c.Conn.Close()
}
