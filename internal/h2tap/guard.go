package h2tap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc/mem"
)

// ErrFlood is what a read returns, and every one after it, once the peer has sent what no server has reason to.
var ErrFlood = errors.New("flood of HTTP/2 frames")

// What a peer may send. gRPC has bounds on streams, windows and header lists, and lets these pass: it writes a line of
// its own log for each of certain GOAWAYs, takes CONTINUATION frames without a byte in them for ever, and spends
// processor time on all.
const (
	// maxGoAways is how many GOAWAYs a connection may bring. A graceful server sends two.
	maxGoAways = 4
	// maxContinuations is how many CONTINUATION frames one header block may have.
	maxContinuations = 128
	// maxControl is how many frames that carry nothing for a call may come in a row within maxControlTime: all but
	// HEADERS, CONTINUATION, and DATA with a byte in it. A server has at most a few for each message. Those count dearFrame
	// times of which it has a few for each connection: SETTINGS and PING, which gRPC has to answer, and types that
	// HTTP/2 does not know, which may be long.
	maxControl     = 10_000
	maxControlTime = time.Second
	dearFrame      = 10
	// markAt is at how many of them the second begins: the first few are not worth looking at the clock.
	markAt = 10 * dearFrame
)

// guard is a connection that ends when its peer floods it.
type guard struct {
	net.Conn
	ready readyReader

	// The reading goroutine's.
	left          uint32          // bytes of the current payload still to come
	have          uint8           // bytes in hold
	hold          [headerLen]byte // a split header
	continuations uint32          // of the current header block
	goAways       uint32
	control       uint32    // in a row, dear ones weighed
	mark          time.Time // when control last reached markAt
	broken        error
}

// Guard returns a connection over c, which must be at the first byte of the server's HTTP/2 bytes, that passes all
// through until the peer floods it: sends PUSH_PROMISE (no gRPC server pushes), or more than a few GOAWAYs, or header
// blocks in endless pieces, or other frames that carry nothing for a call, many in a row. From the frame on that is too
// many, reads return an error that is ErrFlood.
func Guard(c net.Conn) net.Conn {
	return &guard{Conn: c, ready: newReadyReader(c)}
}

// Read implements net.Conn.
func (g *guard) Read(p []byte) (int, error) {
	if g.broken != nil {
		return 0, g.broken
	}
	n, err := g.Conn.Read(p)
	if n = g.passes(p[:n]); n == 0 && g.broken != nil {
		return 0, g.broken
	}
	return n, err
}

// ReadOnReady implements readyReader.
func (g *guard) ReadOnReady(bufSize int, pool mem.BufferPool) (*[]byte, int, error) {
	if g.broken != nil {
		return nil, 0, g.broken
	}
	b, n, err := g.ready.ReadOnReady(bufSize, pool)
	if n == 0 {
		return b, n, err
	}
	if n = g.passes((*b)[:n]); n == 0 {
		pool.Put(b)
		return nil, 0, g.broken
	}
	return b, n, err
}

// passes returns how many bytes of p are before the frame that is too many.
func (g *guard) passes(p []byte) int {
	for i := 0; i < len(p); {
		if g.left > 0 {
			n := min(len(p)-i, int(g.left))
			g.left -= uint32(n)
			i += n
			continue
		}
		h, n := (*[headerLen]byte)(nil), headerLen
		if g.have == 0 && len(p)-i >= headerLen {
			h = (*[headerLen]byte)(p[i:])
		} else {
			n = copy(g.hold[g.have:], p[i:])
			if g.have += uint8(n); g.have < headerLen {
				return len(p)
			}
			h, g.have = &g.hold, 0
		}
		if g.broken = g.frame(h); g.broken != nil {
			return i
		}
		i += n
	}
	return len(p)
}

// frame looks at a frame's header, and says whether it is one too many.
func (g *guard) frame(h *[headerLen]byte) error {
	g.left = binary.BigEndian.Uint32(h[:4]) >> 8
	switch h[typeAt] {
	case frameContinuation:
		if g.continuations++; g.continuations > maxContinuations {
			return fmt.Errorf("%w: more than %d CONTINUATION frames in a header block", ErrFlood, maxContinuations)
		}
		return nil
	case frameHeaders:
		g.continuations, g.control = 0, 0
		return nil
	case frameData:
		if g.left > 0 {
			g.control = 0
			return nil
		}
	case framePushPromise:
		return fmt.Errorf("%w: PUSH_PROMISE", ErrFlood)
	case frameGoAway:
		if g.goAways++; g.goAways > maxGoAways {
			return fmt.Errorf("%w: more than %d GOAWAY frames", ErrFlood, maxGoAways)
		}
	}
	before := g.control
	g.control++
	if t := h[typeAt]; t == frameSettings || t == framePing || t > frameContinuation {
		g.control += dearFrame - 1
	}
	if before < markAt && g.control >= markAt {
		g.mark = time.Now()
	}
	if g.control < maxControl {
		return nil
	}
	if time.Since(g.mark) < maxControlTime {
		return fmt.Errorf("%w: too many in a row that carry nothing for a call", ErrFlood)
	}
	g.control = 0 // a connection may idle, and ping, for months
	return nil
}
