package h2tap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/net/http2"
)

// frameTypes is the seed's alphabet for randomFrames; frames the tap looks at come up more often than their share.
var frameTypes = []http2.FrameType{
	http2.FrameData, http2.FrameHeaders, http2.FrameRSTStream, http2.FrameRSTStream, http2.FrameSettings, http2.FrameSettings,
	http2.FramePing, http2.FrameGoAway, http2.FrameGoAway, http2.FrameWindowUpdate, http2.FrameContinuation, 0x42,
}

// randomFrames returns n frames, most of them well-formed, some with a wrong length, stream or flags.
func randomFrames(rng *rand.Rand, n int) []byte {
	bytesOf := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return string(b)
	}
	return frames(func(fr *http2.Framer) {
		for range n {
			typ := frameTypes[rng.IntN(len(frameTypes))]
			if rng.IntN(4) == 0 {
				fr.WriteRawFrame(typ, http2.Flags(rng.Uint32()), rng.Uint32N(3)<<31|rng.Uint32N(3), []byte(bytesOf(rng.IntN(40))))
				continue
			}
			stream := 1 + rng.Uint32N(1<<31-1)
			switch typ {
			case http2.FrameRSTStream:
				fr.WriteRSTStream(stream, http2.ErrCode(rng.Uint32N(16)))
			case http2.FrameSettings:
				var set []http2.Setting
				for range rng.IntN(5) {
					set = append(set, http2.Setting{ID: http2.SettingID(rng.Uint32N(7)), Val: rng.Uint32()})
				}
				fr.WriteSettings(set...)
			case http2.FrameGoAway:
				fr.WriteGoAway(stream, http2.ErrCode(rng.Uint32N(16)), []byte(bytesOf(rng.IntN(600))))
			case http2.FramePing:
				fr.WritePing(rng.IntN(2) == 0, [8]byte([]byte(bytesOf(8))))
			default:
				fr.WriteRawFrame(typ, http2.Flags(rng.Uint32()), stream, []byte(bytesOf(rng.IntN(2000))))
			}
		}
	})
}

// framerHears returns what a tap should hear of in, by the account of x/net's Framer, and the headers it read.
func framerHears(in []byte) (events []string, headers uint64) {
	rest := bytes.NewReader(in)
	fr := http2.NewFramer(io.Discard, rest)
	fr.AllowIllegalReads = true
	fr.SetMaxReadFrameSize(1<<24 - 1)
	for {
		fh, err := fr.ReadFrameHeader()
		if err != nil {
			return events, headers
		}
		headers++
		if uint64(rest.Len()) < uint64(fh.Length) {
			return events, headers // the last frame is cut short
		}
		payload := in[len(in)-rest.Len():][:fh.Length]
		f, err := fr.ReadFrameForHeader(fh)
		if errors.Is(err, http2.ConnectionError(http2.ErrCodeFlowControl)) && fh.Type == http2.FrameSettings {
			// One setting's value is out of bounds. The frame is well-formed, and the tap judges no value.
			events = append(events, settingsHeard(payload)...)
			continue
		}
		if err != nil {
			continue // malformed: no event, and both go on behind it
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				events = append(events, settingsHeard(payload)...)
			}
		case *http2.RSTStreamFrame:
			events = append(events, fmt.Sprintf("reset %d %s", f.StreamID, Code(f.ErrCode)))
		case *http2.GoAwayFrame:
			debug := f.DebugData()
			debug = slices.Clone(debug[:min(len(debug), 256)])
			for i, c := range debug {
				if c >= 0x80 || !strconv.IsPrint(rune(c)) {
					debug[i] = '.'
				}
			}
			events = append(events, fmt.Sprintf("goaway %d %s %q", f.LastStreamID, Code(f.ErrCode), debug))
		}
	}
}

func settingsHeard(payload []byte) []string {
	events := []string{"settings"}
	for ; len(payload) >= 6; payload = payload[6:] {
		if http2.SettingID(binary.BigEndian.Uint16(payload)) == http2.SettingMaxConcurrentStreams {
			events = []string{fmt.Sprintf("limit %d", binary.BigEndian.Uint32(payload[2:])), "settings"}
		}
	}
	return events
}

// randomSplit cuts in into pieces, most of them short, so that headers and fields are cut too.
func randomSplit(rng *rand.Rand, in []byte) [][]byte {
	var out [][]byte
	for len(in) > 0 {
		n := 1 + rng.IntN(12)
		if rng.IntN(3) == 0 {
			n = 1 + rng.IntN(4000)
		}
		n = min(n, len(in))
		out = append(out, in[:n])
		in = in[n:]
	}
	return out
}

func agrees(t *testing.T, in []byte, split [][]byte) {
	t.Helper()
	rec, c, out := tapped(t, split...)
	want, headers := framerHears(in)
	if got := rec.heard(); !slices.Equal(got, want) {
		t.Errorf("the tap heard %q, the Framer %q", got, want)
	}
	if got := c.FramesRead(); got != headers {
		t.Errorf("the tap counted %d frames, the Framer %d", got, headers)
	}
	if got := c.BytesRead(); got != uint64(len(in)) || !bytes.Equal(out, in) {
		t.Errorf("%d bytes counted of %d; unchanged: %v", got, len(in), bytes.Equal(out, in))
	}
}

// FuzzTapAgreesWithFramer makes frames from one seed and read boundaries from another.
func FuzzTapAgreesWithFramer(f *testing.F) {
	for i := range uint64(32) {
		f.Add(i, i+1, uint8(1+i%16), uint16(i%7))
	}
	f.Fuzz(func(t *testing.T, seed, splitSeed uint64, n uint8, cut uint16) {
		in := randomFrames(rand.New(rand.NewPCG(seed, 1)), int(n%32))
		in = in[:len(in)-min(len(in), int(cut))] // connections end anywhere
		agrees(t, in, randomSplit(rand.New(rand.NewPCG(splitSeed, 2)), in))
	})
}

// FuzzTapSurvivesGarbage feeds bytes that nobody framed, and holds the tap to the Framer's reading of them.
func FuzzTapSurvivesGarbage(f *testing.F) {
	for i, tt := range scanTests {
		f.Add(tt.in, uint64(i))
	}
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), uint64(1))
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), uint64(2))
	f.Add(bytes.Repeat([]byte{0xff}, 100), uint64(3))
	f.Add(bytes.Repeat([]byte{0x00}, 100), uint64(4))
	f.Add(bytes.Repeat([]byte{0x00, 0x00, 0x07, 0x07}, 100), uint64(5))
	f.Fuzz(func(t *testing.T, in []byte, splitSeed uint64) {
		agrees(t, in, randomSplit(rand.New(rand.NewPCG(splitSeed, 3)), in))
	})
}
