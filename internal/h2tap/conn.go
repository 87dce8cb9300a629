package h2tap

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Observer hears about the frames read from the peer. Its methods are called from the goroutine that reads, between
// the read and its return, so they must not block and must not read from the connection. Closed alone may come from
// the goroutine that calls [Conn.Close], at the same time as another method; it is the last word about the connection,
// though a read that was under way may still deliver the frames it had.
type Observer interface {
	// MaxConcurrentStreams is called for each SETTINGS frame that carries SETTINGS_MAX_CONCURRENT_STREAMS, with
	// the value that stands at the end of the frame. 0 is a value: no new stream for now.
	MaxConcurrentStreams(n uint32)
	// Settings is called for each SETTINGS frame once all of it is read, acknowledgements apart, after
	// MaxConcurrentStreams. The first call means that the peer speaks HTTP/2.
	Settings()
	// StreamReset is called for each RST_STREAM, whatever its code (see [Code]).
	StreamReset(streamID uint32, code uint32)
	// GoAway is called for each GOAWAY. Streams above lastStreamID were not processed; code is a [Code]. debug holds
	// at most 256 bytes of the peer's debug data, with a dot in place of anything but printable ASCII.
	GoAway(lastStreamID, code uint32, debug string)
	// HoldGoAway is called at most once, after GoAway, when the first GOAWAY is a warning: NO_ERROR, and no stream
	// refused. It returns for how long the tap may hold it back, 0 for not at all. [Conn.Release] ends that sooner.
	HoldGoAway() time.Duration
	// Closed is called once, with the first error of a read (io.EOF, ECONNRESET, …) or with [net.ErrClosed] when
	// Close comes first. A read deadline that passes ([os.ErrDeadlineExceeded]) closes nothing and is not reported.
	Closed(err error)
}

// Conn is a net.Conn that passes everything through and follows the HTTP/2 frames its reads return, and may hold one of
// them back for a while, the server's warning that it will close the connection, and the PING behind it. One goroutine at
// a time may read, as HTTP/2 implies; all else is as safe for concurrent use as the connection underneath.
//
// It deliberately has the methods of net.Conn, ReadOnReady and Release only: a SyscallConn or a NetConn would be a way for
// bytes to pass unseen.
type Conn struct {
	conn    net.Conn
	ready   readyReader
	obs     Observer
	start   time.Time // carries the monotonic clock: a step of the wall clock moves no difference
	scanner scanner   // belongs to the goroutine that reads
	holder  *holder   // the same; nil: nothing is held
	release release

	lastRead atomic.Int64 // nanoseconds after start
	bytes    atomic.Uint64
	frames   atomic.Uint64
	told     atomic.Bool // Closed was called
}

var _ net.Conn = (*Conn)(nil)

// New returns a Conn over c that reports to o, which must not be nil. c must be at the first byte of the server's
// HTTP/2 bytes, a SETTINGS frame, so it is what the credentials' handshake returned.
func New(c net.Conn, o Observer) *Conn {
	return &Conn{conn: c, ready: newReadyReader(c), obs: o, start: time.Now()}
}

// Read reads from the connection underneath and follows the frames in what came.
func (c *Conn) Read(p []byte) (int, error) {
	if c.holder == nil {
		n, err := c.conn.Read(p)
		if n > 0 {
			c.passed(p[:n])
		}
		if err != nil {
			c.failed(err)
		}
		if c.scanner.fromGoAway == 0 {
			return n, err
		}
		if n, err = c.holdFrom(p[:n], err); n > 0 {
			return n, err
		}
	}
	return c.readHeld(p)
}

// readHeld is Read while there is a holder.
func (c *Conn) readHeld(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	err := c.more(func() ([]byte, error) {
		n, err := c.conn.Read(p)
		return p[:n], err
	})
	switch {
	case err != nil:
		return 0, err
	case c.holder == nil:
		return c.Read(p)
	}
	n := copy(p, c.holder.out)
	c.holder.out = c.holder.out[n:]
	return n, nil
}

// passed follows the frames in p. The counters have one writer, the reading goroutine, so a store will do where an
// atomic addition would cost more; they are stored before the observer hears of the frames.
func (c *Conn) passed(p []byte) {
	c.lastRead.Store(int64(time.Since(c.start)))
	c.bytes.Store(c.bytes.Load() + uint64(len(p)))
	c.scanner.scan(p, c.obs)
	c.frames.Store(c.scanner.frames)
}

func (c *Conn) failed(err error) {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		c.tell(err)
	}
}

func (c *Conn) tell(err error) {
	if c.told.CompareAndSwap(false, true) {
		c.obs.Closed(err)
	}
}

// Close closes the connection underneath. The observer hears first, because closing a TLS connection may wait seconds
// for a peer that no longer reads.
func (c *Conn) Close() error {
	c.tell(net.ErrClosed)
	c.endHold()
	return c.conn.Close()
}

// SinceRead returns the time since a byte was last read, or since New when none was. It follows the monotonic clock.
func (c *Conn) SinceRead() time.Duration {
	return time.Since(c.start) - time.Duration(c.lastRead.Load())
}

// BytesRead returns the number of bytes read so far.
func (c *Conn) BytesRead() uint64 { return c.bytes.Load() }

// FramesRead returns the number of frames whose header has been read, of any type. It grows after the observer has
// heard of the frames of a read.
func (c *Conn) FramesRead() uint64 { return c.frames.Load() }

// Write writes to the connection underneath; the tap does not look.
func (c *Conn) Write(p []byte) (int, error) { return c.conn.Write(p) }

// LocalAddr returns the local address of the connection underneath.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr returns the peer's address as the connection underneath knows it.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline sets both deadlines of the connection underneath.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets the read deadline of the connection underneath, for Read and ReadOnReady alike.
func (c *Conn) SetReadDeadline(t time.Time) error {
	r := &c.release
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deadline = t; r.waking {
		return nil // it comes into force once the reader is awake
	}
	return c.conn.SetReadDeadline(t)
}

// SetWriteDeadline sets the write deadline of the connection underneath.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }
