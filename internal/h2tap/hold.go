package h2tap

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A server that wants to end a connection without losing a request warns first (RFC 9113, section 6.8): a GOAWAY that
// refuses no stream yet, NO_ERROR and the highest stream there could be, and behind it a PING by whose answer it learns
// that the warning has arrived. Until then it takes new streams, since they may have been under way already. gRPC stops
// using a connection with the first GOAWAY it reads, and nothing can be ready in its place by then. So the warning and its
// PING are held back while a successor is made; all other frames pass. To the server that is a slow network, which is
// what the warning is for.

const (
	flagEndHeaders = 0x4

	pingLen = 8
	// maxHeld bounds the GOAWAY that is held, header and debug data included; a longer one passes.
	maxHeld = headerLen + goAwayFixedLen + maxDebug
)

// holder is what the reader keeps from the first GOAWAY on, until nothing is held any more. It follows the frames as
// the scanner does, but passes them on: into out, and from there to whoever reads. It belongs to the goroutine that
// reads.
type holder struct {
	out   []byte // goes before anything that is read from now on
	frame []byte // the start of a frame that may have to be held: its header, and for a GOAWAY or PING the rest too
	held  []byte // the warning, then its PING
	ping  bool   // the PING is held
	left  uint32 // bytes still to come of a frame that is passing
	block bool   // more of a header block has to come before any other frame
	over  bool   // nothing is held any more, and nothing will be
	moved bool   // something has been held
	err   error  // what the last read ended with, for when out is empty
	begin func() bool
}

// take passes p on, less what has to be held. begin is asked once, about the warning.
func (h *holder) take(p []byte) {
	for len(p) > 0 {
		switch {
		case h.over:
			h.out = append(h.out, p...)
			return
		case h.left > 0:
			n := min(uint64(len(p)), uint64(h.left))
			h.out = append(h.out, p[:n]...)
			h.left -= uint32(n)
			p = p[n:]
		default:
			want := headerLen
			if len(h.frame) >= headerLen {
				want += int(h.length())
			}
			n := min(want-len(h.frame), len(p))
			h.frame = append(h.frame, p[:n]...)
			if p = p[n:]; len(h.frame) == want {
				h.decide()
			}
		}
	}
}

func (h *holder) length() uint32 {
	return uint32(h.frame[0])<<16 | uint32(h.frame[1])<<8 | uint32(h.frame[2])
}

// decide looks at a frame of which the header has come or, for one that may have to be held, all.
func (h *holder) decide() {
	head, length := (*[headerLen]byte)(h.frame), h.length()
	whole := len(h.frame) == headerLen+int(length)
	switch typ := head[typeAt]; {
	case typ == frameGoAway && len(h.held) > 0:
		h.end() // the server's last word, or it makes no sense: no more waiting, and this one comes after
	case typ == frameGoAway && (streamID(head) != 0 || length < goAwayFixedLen || headerLen+length > maxHeld):
		h.end()
	case typ == frameGoAway:
		if !whole {
			return
		}
		last, code := binary.BigEndian.Uint32(h.frame[headerLen:])&streamMask, binary.BigEndian.Uint32(h.frame[headerLen+4:])
		if last != streamMask || Code(code) != NoError || !h.begin() {
			h.end()
			return
		}
		h.hold()
	case typ == framePing && !h.ping && streamID(head) == 0 && head[flagsAt]&flagAck == 0 && length == pingLen:
		if whole {
			h.ping = true
			h.hold()
		}
	default:
		if typ == frameHeaders || typ == framePushPromise || typ == frameContinuation {
			h.block = head[flagsAt]&flagEndHeaders == 0
		}
		h.out = append(h.out, h.frame...)
		h.frame = h.frame[:0]
		h.left = length
	}
}

func (h *holder) hold() {
	h.held, h.moved = append(h.held, h.frame...), true
	h.frame = h.frame[:0]
}

// between tells whether what was held can be passed on here: between frames, and not inside a header block.
func (h *holder) between() bool { return h.left == 0 && !h.block }

// end passes on what is held, and the start of a frame that came after it.
func (h *holder) end() {
	h.out = append(append(h.out, h.held...), h.frame...)
	h.held, h.frame, h.over = nil, nil, true
}

// release is how others make the reader pass on what is held.
type release struct {
	asked atomic.Bool

	mu       sync.Mutex
	holding  bool
	timer    *time.Timer
	deadline time.Time // for reading, as the caller set it
	waking   bool      // it is in the past for now, to end a read that waits
}

// Release passes on what is held back, if anything, and has nothing held from now on. A read that waits returns it; in the
// middle of a frame it comes after that.
func (c *Conn) Release() {
	r := &c.release
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked.Swap(true) || !r.holding {
		return
	}
	r.waking = true
	// A connection for which this does not work passes it on with the next bytes.
	_ = c.conn.SetReadDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)

// beginHold asks the observer and, if it says so, begins to hold; false: not.
func (c *Conn) beginHold() bool {
	longest := c.obs.HoldGoAway()
	r := &c.release
	r.mu.Lock()
	defer r.mu.Unlock()
	if longest <= 0 || r.asked.Load() || c.told.Load() {
		return false
	}
	r.holding = true
	r.timer = time.AfterFunc(longest, c.Release)
	return true
}

// endHold has the timer and the deadline as they were.
func (c *Conn) endHold() {
	r := &c.release
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holding = false; r.timer != nil {
		r.timer.Stop()
	}
	c.restoreLocked()
}

// restoreLocked sets the deadline that Release has replaced, and reports whether there was one.
func (c *Conn) restoreLocked() bool {
	r := &c.release
	was := r.waking
	if r.waking = false; was {
		_ = c.conn.SetReadDeadline(r.deadline) // if this fails reading will too, and say so
	}
	return was
}

// woken tells whether err, from a read, is no more than Release waking the reader.
func (c *Conn) woken(err error) bool {
	if !isTimeout(err) {
		return false
	}
	c.release.mu.Lock()
	defer c.release.mu.Unlock()
	return c.restoreLocked()
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

// holdFrom takes over from a plain read that returned p and err, when a GOAWAY begins in p. It returns what the reader gets
// now: as much of p as comes before the GOAWAY or, when that is not held, all.
func (c *Conn) holdFrom(p []byte, err error) (int, error) {
	n := len(p) - c.scanner.fromGoAway
	c.scanner.fromGoAway = 0
	h := &holder{begin: c.beginHold, err: err}
	if h.take(p[n:]); h.over && !h.moved {
		return len(p), err
	}
	c.holder = h
	return n, nil
}

// more reads until there is something to pass on, and returns nil when there is: in c.holder.out or, when c.holder is nil,
// on the connection. read makes one read and returns what came; it may be used again after that.
func (c *Conn) more(read func() ([]byte, error)) error {
	for h := c.holder; ; {
		if !h.over && (c.release.asked.Load() && h.between() || h.err != nil && !isTimeout(h.err)) {
			h.end()
		}
		if len(h.out) > 0 {
			return nil
		}
		if h.over {
			c.endHold()
			c.holder = nil
			return h.err
		}
		if err := h.err; err != nil {
			h.err = nil
			return err
		}
		p, err := read()
		if len(p) > 0 {
			c.passed(p)
			h.take(p)
		}
		if err != nil && !c.woken(err) {
			c.failed(err)
			h.err = err
		}
	}
}
