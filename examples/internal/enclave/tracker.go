package enclave

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// frameHeaderSize is the length of the header that every HTTP/2 frame begins with (RFC 9113, 4.1).
const frameHeaderSize = 9

// tracker follows the frames in one direction of an HTTP/2 connection, through whatever pieces the
// bytes come in, to know where a frame of our own may be put: between two frames, but not inside a
// header block, where nothing may come between HEADERS and its CONTINUATIONs (RFC 9113, 4.3).
// The zero value is at the start of a frame.
type tracker struct {
	head  [frameHeaderSize]byte
	have  int  // bytes of head seen; all of them while inside a payload
	body  int  // bytes of payload (or of skip) still to come
	block bool // between a HEADERS without END_HEADERS and the end of the last CONTINUATION
}

// skip passes over the next n bytes, which are no frame: the client's connection preface.
func (t *tracker) skip(n int) { t.have, t.body, t.head = frameHeaderSize, n, [frameHeaderSize]byte{} }

// boundary reports whether a frame may be put here.
func (t *tracker) boundary() bool { return t.have == 0 && !t.block }

// next consumes p up to the end of the current frame, or all of it. It returns the number of bytes
// consumed and whether a header block ended with them.
func (t *tracker) next(p []byte) (n int, headersEnd bool) {
	if t.have < frameHeaderSize {
		n = copy(t.head[t.have:], p)
		t.have += n
		if t.have < frameHeaderSize {
			return n, false
		}
		t.body = int(t.head[0])<<16 | int(t.head[1])<<8 | int(t.head[2])
	}
	step := min(t.body, len(p)-n)
	n, t.body = n+step, t.body-step
	if t.body > 0 {
		return n, false
	}
	t.have = 0
	switch http2.FrameType(t.head[3]) {
	case http2.FrameHeaders, http2.FrameContinuation, http2.FramePushPromise:
		end := http2.Flags(t.head[4]).Has(http2.FlagHeadersEndHeaders)
		t.block = !end
		return n, end
	}
	return n, false
}

// stream is the stream of the frame last begun.
func (t *tracker) stream() uint32 { return binary.BigEndian.Uint32(t.head[5:]) & (1<<31 - 1) }
