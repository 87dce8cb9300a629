package h2tap

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// releasing is a net.Conn that releases the tap over it before its n-th read; 0: never.
type releasing struct {
	pieces
	tap   *Conn
	n     int
	reads int
}

func (c *releasing) Read(p []byte) (int, error) {
	if c.reads++; c.reads == c.n {
		c.tap.Release()
	}
	return c.pieces.Read(p)
}

// The deadline does not wake it: what is held has to wait for the next bytes, as on a connection that knows no deadline.
func (c *releasing) SetReadDeadline(time.Time) error { return nil }

// frame is one frame of a stream, as x/net's Framer finds it.
type frame struct {
	http2.FrameHeader
	raw []byte
}

// cut tells whether the end came within the frame.
func (f frame) cut() bool { return f.Type == 0xff || len(f.raw) < 9+int(f.Length) }

func (f frame) String() string {
	return fmt.Sprintf("\n%v %x", f.FrameHeader, f.raw[:min(len(f.raw), 24)])
}

// framesOf cuts in at its frames; the last may be cut short.
func framesOf(in []byte) []frame {
	rest := bytes.NewReader(in)
	fr := http2.NewFramer(io.Discard, rest)
	fr.AllowIllegalReads = true
	fr.SetMaxReadFrameSize(1<<24 - 1)
	var out []frame
	for at := 0; at < len(in); {
		fh, err := fr.ReadFrameHeader()
		if err != nil {
			return append(out, frame{raw: in[at:], FrameHeader: http2.FrameHeader{Type: 0xff}})
		}
		end := min(at+9+int(fh.Length), len(in))
		rest.Seek(int64(end), io.SeekStart)
		out = append(out, frame{fh, in[at:end]})
		at = end
	}
	return out
}

func (f frame) warning() bool {
	return f.Type == http2.FrameGoAway && len(f.raw) <= maxHeld && f.StreamID == 0 && f.Length >= 8 && !f.cut() &&
		bytes.Equal(slices.Concat([]byte{f.raw[9] & 0x7f}, f.raw[10:17]), []byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0})
}

func (f frame) ping() bool {
	return f.Type == http2.FramePing && f.Length == 8 && len(f.raw) == 17 && f.StreamID == 0 && f.Flags&http2.FlagPingAck == 0
}

// movedLater returns in with the warning and its ping after further more frames, and whether they may stand there.
func movedLater(in []frame, warning, further int) (out []byte, allowed bool) {
	var held []byte
	block, ping := false, false
	allowed = true
	for i, f := range in {
		switch {
		case i == warning:
			held = f.raw
		case held != nil && !ping && f.ping():
			ping, held = true, append(slices.Clone(held), f.raw...)
		default:
			if held != nil {
				if further == 0 {
					allowed = allowed && (!block || f.Type == http2.FrameGoAway || f.cut())
					out, held, ping = append(out, held...), nil, true
				}
				if further--; f.Type == http2.FrameHeaders || f.Type == http2.FrameContinuation || f.Type == http2.FramePushPromise {
					block = f.Flags&http2.FlagHeadersEndHeaders == 0
				}
				if f.Type == http2.FrameGoAway && held != nil {
					allowed = false // it must not overtake the warning
				}
			}
			out = append(out, f.raw...)
		}
	}
	return append(out, held...), allowed
}

// FuzzHeldFramesAreOnlyMoved makes frames from one seed, with a warning among them, and read boundaries from another, reads
// through the tap with buffers of any size, and releases before any read. Whatever comes out is what went in, with the
// warning and its PING later, together and between two frames.
func FuzzHeldFramesAreOnlyMoved(f *testing.F) {
	for i := range uint64(64) {
		f.Add(i, i+1, uint8(i), uint8(i*7), uint8(i%11), uint16(i%5), i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, seed, splitSeed uint64, before, after, release uint8, cut uint16, ready bool) {
		rng, split := rand.New(rand.NewPCG(seed, 4)), rand.New(rand.NewPCG(splitSeed, 5))
		// No GOAWAY comes before the warning: the first is the one that counts.
		var in []byte
		for _, f := range framesOf(randomFrames(rng, int(before%16))) {
			if f.Type != http2.FrameGoAway {
				in = append(in, f.raw...)
			}
		}
		if rng.IntN(8) > 0 {
			in = append(in, warning(string(make([]byte, rng.IntN(20))))...)
			if rng.IntN(2) == 0 {
				in = append(in, raw(http2.FramePing, 0, 0, "\x01\x06\x01\x08\x00\x03\x03\x09")...)
			}
		}
		in = append(in, randomFrames(rng, int(after%32))...)
		in = in[:len(in)-min(len(in), int(cut))]

		cuts := randomSplit(split, in)
		rec := &recorder{hold: time.Hour}
		conn := &releasing{pieces: pieces{left: slices.Clone(cuts), err: io.EOF}, n: int(release)}
		c := New(conn, rec)
		conn.tap = c
		asked := false
		rec.asked = func() { asked = true }
		out := drain(t, c, ready, func() int {
			if split.IntN(2) == 0 {
				return 1 + split.IntN(16)
			}
			return 1 + split.IntN(4096)
		})

		frames := framesOf(in)
		g := slices.IndexFunc(frames, frame.warning)
		if g >= 0 && slices.IndexFunc(frames, func(f frame) bool { return f.Type == http2.FrameGoAway }) < g {
			g = -1 // another came first
		}
		if asked && g < 0 {
			t.Fatal("asked about a GOAWAY that is no warning")
		}
		if len(out) != len(in) {
			t.Fatalf("%d bytes became %d", len(in), len(out))
		}
		if g < 0 || !asked {
			if !bytes.Equal(in, out) {
				t.Fatal("the bytes changed though nothing was to be held")
			}
			return
		}
		for further := range len(frames) - g {
			if want, allowed := movedLater(frames, g, further); allowed && bytes.Equal(out, want) {
				if release > 0 && conn.reads >= int(release) {
					return
				}
				// Never released: until the next GOAWAY or the end, which may come in the middle of a frame.
				last := frames[len(frames)-1]
				more, allowed := movedLater(frames, g, further+1)
				if !last.cut() && allowed && !bytes.Equal(more, out) {
					t.Fatalf("passed on after %d more frames without a reason: %v", further, frames)
				}
				return
			}
		}
		t.Fatalf("not what went in with the warning moved:\n in %v\nout %v", frames, framesOf(out))
	})
}

// drain reads c to its end, with buffers of the sizes given.
func drain(t *testing.T, c *Conn, ready bool, size func() int) []byte {
	t.Helper()
	var out []byte
	pool := &countingPool{}
	for range 1 << 22 {
		var n int
		var err error
		if ready {
			var b *[]byte
			if b, n, err = c.ReadOnReady(size(), pool); b != nil {
				out = append(out, (*b)[:n]...)
				pool.Put(b)
			}
		} else {
			b := make([]byte, size())
			n, err = c.Read(b)
			out = append(out, b[:n]...)
		}
		if err == io.EOF {
			if pool.out != 0 {
				t.Fatalf("%d buffers were not given back", pool.out)
			}
			return out
		}
		if err != nil || n == 0 {
			t.Fatalf("read %d bytes, error %v", n, err)
		}
	}
	t.Fatal("the end never comes")
	return nil
}
