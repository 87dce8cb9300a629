package enclave

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/http2"
)

// stretch is a piece of a conversation, and whether a frame may be put behind it.
type stretch struct {
	bytes []byte
	gap   bool
}

func conversation() []stretch {
	return []stretch{
		{frame(func(f *http2.Framer) error { return f.WriteSettings() }), true},
		{frame(func(f *http2.Framer) error { return f.WriteData(1, false, bytes.Repeat([]byte{7}, 300)) }), true},
		{frame(func(f *http2.Framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: make([]byte, 20)})
		}), false},
		{frame(func(f *http2.Framer) error { return f.WriteContinuation(3, false, make([]byte, 5)) }), false},
		{frame(func(f *http2.Framer) error { return f.WriteContinuation(3, true, nil) }), true},
		{frame(func(f *http2.Framer) error { return f.WriteData(3, true, nil) }), true},
		{frame(func(f *http2.Framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: make([]byte, 9), EndHeaders: true})
		}), true},
		{rstFrame(5, http2.ErrCodeCancel), true},
	}
}

func TestTrackerFindsEveryGapHoweverTheBytesArrive(t *testing.T) {
	var all []byte
	gaps := map[int]bool{0: true}
	for _, s := range conversation() {
		all = append(all, s.bytes...)
		gaps[len(all)] = s.gap
	}
	for round := range 200 {
		r := rand.New(rand.NewPCG(1, uint64(round)))
		var tr tracker
		for at := 0; at < len(all); {
			piece := all[at:min(len(all), at+1+r.IntN(40))]
			for len(piece) > 0 {
				n, _ := tr.next(piece)
				if n == 0 {
					t.Fatalf("round %d: stuck at byte %d", round, at)
				}
				at, piece = at+n, piece[n:]
				if tr.boundary() != gaps[at] {
					t.Fatalf("round %d: at byte %d boundary is %v", round, at, tr.boundary())
				}
			}
		}
	}
}

func TestTrackerNamesTheStreamOfEachHeaderBlock(t *testing.T) {
	var tr tracker
	tr.skip(len(http2.ClientPreface))
	all := []byte(http2.ClientPreface)
	for _, s := range conversation() {
		all = append(all, s.bytes...)
	}
	var streams []uint32
	for len(all) > 0 {
		n, headersEnd := tr.next(all)
		all = all[n:]
		if headersEnd {
			streams = append(streams, tr.stream())
		}
	}
	if len(streams) != 2 || streams[0] != 3 || streams[1] != 5 {
		t.Errorf("header blocks of streams %v, want 3 and 5", streams)
	}
}

func TestStreamLimitIsReplacedInTheFirstSettingsOnly(t *testing.T) {
	first := frame(func(f *http2.Framer) error {
		if err := f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 14},
			http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100}); err != nil {
			return err
		}
		return f.WriteWindowUpdate(0, 5)
	})
	before := bytes.Clone(first)
	got, ok := withStreamLimit(first, 7)
	if !ok || !bytes.Equal(first, before) {
		t.Fatalf("replaced: %v, input kept: %v", ok, bytes.Equal(first, before))
	}
	fr := http2.NewFramer(nil, bytes.NewReader(got))
	f, err := fr.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := f.(*http2.SettingsFrame).Value(http2.SettingMaxConcurrentStreams); v != 7 {
		t.Errorf("limit %d, want 7", v)
	}
	if v, _ := f.(*http2.SettingsFrame).Value(http2.SettingMaxFrameSize); v != 1<<14 {
		t.Errorf("frame size %d, want it untouched", v)
	}
	for name, other := range map[string][]byte{
		"no such setting": frame(func(f *http2.Framer) error { return f.WriteSettings() }),
		"another frame":   rstFrame(1, http2.ErrCodeCancel),
		"half a frame":    first[:12],
		"nothing":         nil,
	} {
		if got, ok := withStreamLimit(other, 7); ok || !bytes.Equal(got, other) {
			t.Errorf("%s: replaced %v", name, ok)
		}
	}
}
