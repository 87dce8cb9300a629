package h2tap

import (
	"encoding/binary"
	"strings"
)

const (
	headerLen = 9 // bytes in a frame header: 3 length, 1 type, 1 flags, 4 stream
	typeAt    = 3
	flagsAt   = 4

	frameData         = 0x0
	frameHeaders      = 0x1
	frameRSTStream    = 0x3
	frameSettings     = 0x4
	framePushPromise  = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameContinuation = 0x9
	frameOther        = 0xff // in scanner.kind only: a payload nobody looks at

	flagAck = 0x1

	settingMaxConcurrentStreams = 0x3
	settingLen                  = 6 // bytes in one parameter: 2 identifier, 4 value
	rstStreamLen                = 4
	goAwayFixedLen              = 8   // last stream and code; the debug data follows
	maxDebug                    = 256 // bytes of debug data kept; a peer may send 16 MiB of it

	streamMask = 1<<31 - 1 // the top bit of a stream identifier is reserved and ignored
)

// scanner follows the frames in a byte stream that arrives in pieces of any size. It is at a frame boundary or inside
// a header while left is 0, and inside a payload otherwise; a frame without payload ends with its header. It holds at
// most one split field (in hold) and the first maxDebug bytes of a GOAWAY's debug data.
//
// What it trusts of a frame is the length alone, so that a malformed one costs its event and never the alignment.
type scanner struct {
	left   uint32          // bytes of the current payload still to come
	kind   uint8           // whose payload that is: frameOther, or a type looked at
	have   uint8           // bytes in hold
	hold   [headerLen]byte // a split header or a split field
	frames uint64          // headers seen

	// fromGoAway is set when the first GOAWAY begins in what was just scanned: the bytes from there to the end of it.
	// It waits there for whoever is interested (see holder). past: there has been one, or it began in an earlier scan.
	fromGoAway int
	past       bool

	stream    uint32 // of the RST_STREAM being read
	limit     uint32 // of the SETTINGS being read, once hasLimit
	hasLimit  bool
	lastID    uint32 // of the GOAWAY being read
	code      uint32
	debug     []byte
	debugLeft uint32 // bytes of debug data still worth keeping
}

// scan follows the frames through p and tells o what they say. It keeps no reference to p and allocates for GOAWAY only.
func (s *scanner) scan(p []byte, o Observer) {
	for len(p) > 0 {
		if s.left == 0 {
			if s.have == 0 && len(p) >= headerLen {
				s.begin((*[headerLen]byte)(p), len(p), o)
				p = p[headerLen:]
				continue
			}
			n := copy(s.hold[s.have:], p)
			s.have += uint8(n)
			p = p[n:]
			switch {
			case s.have == headerLen:
				s.have = 0
				s.begin(&s.hold, 0, o)
			case int(s.have) == n && n > typeAt && s.hold[typeAt] == frameGoAway:
				s.goAwayBegan(n)
			}
			continue
		}
		n := len(p)
		if uint64(n) > uint64(s.left) {
			n = int(s.left)
		}
		s.left -= uint32(n)
		if s.kind != frameOther {
			s.payload(p[:n], o)
		}
		p = p[n:]
	}
}

// goAwayBegan takes note of the first GOAWAY, which began so many bytes before the end of what is being scanned.
func (s *scanner) goAwayBegan(before int) {
	if !s.past {
		s.fromGoAway, s.past = before, true
	}
}

// begin starts the frame whose header is h and, in what is being scanned, so many bytes before the end; 0: in an earlier
// scan. Only well-formed frames of the three types keep their kind.
func (s *scanner) begin(h *[headerLen]byte, before int, o Observer) {
	length := uint32(h[0])<<16 | uint32(h[1])<<8 | uint32(h[2])
	s.frames++
	s.left = length
	s.kind = frameOther
	switch h[typeAt] {
	case frameSettings:
		if h[flagsAt]&flagAck != 0 || streamID(h) != 0 || length%settingLen != 0 {
			return
		}
		if length == 0 {
			o.Settings()
			return
		}
		s.kind = frameSettings
		s.hasLimit = false
	case frameRSTStream:
		if s.stream = streamID(h); s.stream != 0 && length == rstStreamLen {
			s.kind = frameRSTStream
		}
	case frameGoAway:
		s.goAwayBegan(before)
		if streamID(h) == 0 && length >= goAwayFixedLen {
			s.kind = frameGoAway
			s.debugLeft = min(length-goAwayFixedLen, maxDebug)
		}
	}
}

func streamID(h *[headerLen]byte) uint32 {
	return binary.BigEndian.Uint32(h[5:9]) & streamMask
}

// payload takes the next bytes of a payload that is looked at; left already excludes them.
func (s *scanner) payload(p []byte, o Observer) {
	switch s.kind {
	case frameSettings:
		for {
			if p = s.field(p, settingLen); s.have < settingLen {
				return
			}
			s.have = 0
			if binary.BigEndian.Uint16(s.hold[:2]) == settingMaxConcurrentStreams {
				s.limit, s.hasLimit = binary.BigEndian.Uint32(s.hold[2:6]), true
			}
			if len(p) == 0 {
				break
			}
		}
		if s.left > 0 {
			return
		}
		// Parameters apply in order, so of two values for one identifier the last stands.
		if s.hasLimit {
			o.MaxConcurrentStreams(s.limit)
		}
		o.Settings()
	case frameRSTStream:
		if s.field(p, rstStreamLen); s.have == rstStreamLen {
			s.have = 0
			o.StreamReset(s.stream, binary.BigEndian.Uint32(s.hold[:4]))
		}
	case frameGoAway:
		s.goAway(p, o)
	}
}

// goAway takes the next bytes of a GOAWAY payload: the fixed part through hold, then the debug data.
func (s *scanner) goAway(p []byte, o Observer) {
	if s.debug == nil {
		if p = s.field(p, goAwayFixedLen); s.have < goAwayFixedLen {
			return
		}
		s.have = 0
		s.lastID = binary.BigEndian.Uint32(s.hold[:4]) & streamMask
		s.code = binary.BigEndian.Uint32(s.hold[4:8])
		s.debug = make([]byte, 0, s.debugLeft) // not nil even when empty: the fixed part is behind us
	}
	n := min(uint32(len(p)), s.debugLeft)
	s.debug = append(s.debug, p[:n]...)
	s.debugLeft -= n
	if s.left == 0 {
		debug := printable(s.debug)
		s.debug = nil
		o.GoAway(s.lastID, s.code, debug)
	}
}

// field moves bytes of p into hold until hold has size of them, and returns the rest of p.
func (s *scanner) field(p []byte, size uint8) []byte {
	n := copy(s.hold[s.have:size], p)
	s.have += uint8(n)
	return p[n:]
}

// printable replaces all but printable ASCII by a dot: the text comes from the peer and ends up in logs, where a line
// break or an escape sequence would forge an entry.
func printable(b []byte) string {
	var sb strings.Builder
	sb.Grow(len(b))
	for _, c := range b {
		if c < ' ' || c > '~' {
			c = '.'
		}
		sb.WriteByte(c)
	}
	return sb.String()
}
