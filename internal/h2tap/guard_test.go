package h2tap

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// repeated is n times the same frame.
func repeated(n int, f []byte) []byte { return bytes.Repeat(f, n) }

var (
	goAwayFrame = raw(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x01\x00\x00\x00\x0btoo_many_pings")
	pingFrame   = raw(http2.FramePing, 0, 0, "01234567")
	emptyData   = raw(http2.FrameData, 0, 1, "")
)

// maxPings is the number of PINGs in a row that is too many, and of other frames that are as dear.
const maxPings = maxControl / dearFrame

// guarded reads the pieces through a guard, and returns what came out until the first error.
func guarded(in ...[]byte) ([]byte, error) {
	in = slices.DeleteFunc(slices.Clone(in), func(p []byte) bool { return len(p) == 0 })
	return io.ReadAll(Guard(&pieces{left: in, err: io.EOF}))
}

func TestGuardBreaksAtTheFirstFrameTooManyAndNotBefore(t *testing.T) {
	header := raw(http2.FrameHeaders, 0, 1, "\x88")
	continuation := raw(http2.FrameContinuation, 0, 1, "")
	for _, tt := range []struct {
		name string
		good []byte // passes
		more []byte // is too many behind it
	}{
		{"GOAWAY", repeated(maxGoAways, goAwayFrame), goAwayFrame},
		{"CONTINUATION", slices.Concat(header, repeated(maxContinuations, continuation), header, repeated(maxContinuations, continuation)), continuation},
		{"PUSH_PROMISE", pair, raw(http2.FramePushPromise, 0, 1, "\x00\x00\x00\x02\x88")},
		{"PING", slices.Concat(repeated(maxPings-1, pingFrame), pair, repeated(maxPings-1, pingFrame)), pingFrame},
		{"SETTINGS", repeated(maxPings-1, raw(http2.FrameSettings, 0, 0, limitOf(1))), raw(http2.FrameSettings, 0, 0, limitOf(1))},
		{"RST_STREAM", repeated(maxControl-1, raw(http2.FrameRSTStream, 0, 1, "\x00\x00\x00\x08")), emptyData},
		{"WINDOW_UPDATE", repeated(maxControl-1, raw(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x08")), emptyData},
		{"DATA without a byte", repeated(maxControl-1, emptyData), emptyData},
		{"a type that does not exist", repeated(maxPings-1, raw(0xbb, 0, 1, "x")), pingFrame},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // no time passes, however slow the machine is
				if out, err := guarded(tt.good); err != nil || !bytes.Equal(out, tt.good) {
					t.Errorf("%d of %d bytes passed, then %v", len(out), len(tt.good), err)
				}
				whole := slices.Concat(tt.good, tt.more, pair)
				rng := rand.New(rand.NewPCG(1, 1))
				for _, in := range [][][]byte{{whole}, {tt.good, tt.more, pair}, randomSplit(rng, whole)} {
					out, err := guarded(in...)
					// A header that was split has passed in part.
					if !errors.Is(err, ErrFlood) || !bytes.HasPrefix(whole, out) || len(out) < len(tt.good) || len(out) >= len(tt.good)+headerLen {
						t.Errorf("%d of %d bytes passed, then %v", len(out), len(tt.good), err)
					}
				}
			})
		})
	}
}

func TestGuardLetsAConnectionPingForMonths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := Guard(readFunc(func(p []byte) (int, error) {
			if n++; n > 10 {
				return 0, io.EOF
			}
			time.Sleep(maxControlTime)
			return copy(p, repeated(maxPings/2, pingFrame)), nil
		}))
		buf := make([]byte, maxPings*len(pingFrame))
		for {
			if _, err := c.Read(buf); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestGuardBreaksAtAFloodHoweverOldTheConnectionIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := [][]byte{pair, repeated(maxPings-1, pingFrame), pair, repeated(maxPings, pingFrame)}
		c := Guard(readFunc(func(p []byte) (int, error) {
			time.Sleep(time.Hour)
			n := copy(p, left[0])
			left = left[1:]
			return n, nil
		}))
		buf := make([]byte, maxPings*len(pingFrame))
		for i := range 4 {
			if _, err := c.Read(buf); err != nil {
				t.Fatalf("read %d: %v", i, err)
			}
		}
		if _, err := c.Read(buf); !errors.Is(err, ErrFlood) {
			t.Errorf("after one PING too many: %v", err)
		}
	})
}

func TestGuardStaysBrokenAndGivesItsBufferBack(t *testing.T) {
	client, server := unixPair(t)
	c := New(Guard(client), silent{})
	pool := &onePool{make([]byte, 4096)}
	server.Write(repeated(maxGoAways+1, goAwayFrame))
	b, n, err := c.ReadOnReady(4096, pool)
	if b == nil || n != maxGoAways*len(goAwayFrame) || err != nil {
		t.Errorf("%d bytes, %v: what came before the flood has to pass", n, err)
	}
	for range 2 {
		if b, n, err := c.ReadOnReady(4096, pool); b != nil || n != 0 || !errors.Is(err, ErrFlood) {
			t.Errorf("%v, %d bytes, %v", b, n, err)
		}
		if n, err := c.Read(make([]byte, 10)); n != 0 || !errors.Is(err, ErrFlood) {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
}

func TestGuardAllocatesNothing(t *testing.T) {
	c := Guard(&endless{data: pair})
	buf := make([]byte, 4096)
	if got := testing.AllocsPerRun(1000, func() { c.Read(buf) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// BenchmarkGuardPair is BenchmarkTapPair for the guard.
func BenchmarkGuardPair(b *testing.B) {
	b.Run("guard", func(b *testing.B) { readAll(b, Guard(&endless{data: pair}), 4096) })
	b.Run("bare", func(b *testing.B) { readAll(b, &endless{data: pair}, 4096) })
}

// FuzzGuard holds the guard to passing all bytes unchanged, or a beginning of them that ends where it says ErrFlood,
// wherever the reads are cut.
func FuzzGuard(f *testing.F) {
	for i, tt := range scanTests {
		f.Add(tt.in, uint64(i))
	}
	f.Add(repeated(maxGoAways+2, goAwayFrame), uint64(1))
	f.Add(slices.Concat(pair, raw(http2.FramePushPromise, 0, 1, "\x00\x00\x00\x02")), uint64(2))
	f.Fuzz(func(t *testing.T, in []byte, splitSeed uint64) {
		whole, err := guarded(in)
		if (err == nil) != (len(whole) == len(in)) || !bytes.HasPrefix(in, whole) || err != nil && !errors.Is(err, ErrFlood) {
			t.Fatalf("%d of %d bytes, %v", len(whole), len(in), err)
		}
		out, splitErr := guarded(randomSplit(rand.New(rand.NewPCG(splitSeed, 4)), in)...)
		if (err == nil) != (splitErr == nil) || !bytes.HasPrefix(in, out) || len(out) < len(whole) || len(out) >= len(whole)+headerLen {
			t.Fatalf("whole: %d bytes, %v; in pieces: %d bytes, %v", len(whole), err, len(out), splitErr)
		}
	})
}

func TestAFloodWhileAWarningIsHeldReleasesItAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flood := repeated(maxPings, otherPing)
		rec := &recorder{hold: time.Hour}
		c := New(Guard(&pieces{left: [][]byte{slices.Concat(pair, maxAge, goAwayPing), flood}, err: io.EOF}), rec)
		out, err := io.ReadAll(c)
		// The warning and its PING count, held or not.
		passed := slices.Concat(pair, flood[:(maxPings-2)*len(otherPing)], maxAge, goAwayPing)
		if !errors.Is(err, ErrFlood) || !bytes.Equal(out, passed) {
			t.Errorf("%d bytes, want %d, then %v", len(out), len(passed), err)
		}
		if got := rec.closedWith(); len(got) != 1 || !errors.Is(got[0], ErrFlood) {
			t.Errorf("closed with %v", got)
		}
	})
}
