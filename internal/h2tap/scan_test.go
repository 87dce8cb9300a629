package h2tap

import (
	"bytes"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

var scanTests = []struct {
	name   string
	in     []byte
	want   []string
	frames uint64
}{
	{"empty settings", raw(http2.FrameSettings, 0, 0, ""), []string{"settings"}, 1},
	{"settings with a limit", raw(http2.FrameSettings, 0, 0, limitOf(100)), []string{"limit 100", "settings"}, 1},
	{"settings with limit zero", raw(http2.FrameSettings, 0, 0, limitOf(0)), []string{"limit 0", "settings"}, 1},
	{
		"settings with the largest limit", raw(http2.FrameSettings, 0, 0, "\x00\x03\xff\xff\xff\xff"),
		[]string{"limit 4294967295", "settings"}, 1,
	},
	{
		"settings without a limit", frames(func(fr *http2.Framer) {
			fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 14}, http2.Setting{ID: 0x303, Val: 3})
		}), []string{"settings"}, 1,
	},
	{
		"settings with a limit between others", frames(func(fr *http2.Framer) {
			fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535},
				http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 250}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 14})
		}), []string{"limit 250", "settings"}, 1,
	},
	{
		"settings that says the limit twice: the last stands", raw(http2.FrameSettings, 0, 0, limitOf(9)+limitOf(7)),
		[]string{"limit 7", "settings"}, 1,
	},
	{
		"a limit belongs to its own frame", slices.Concat(raw(http2.FrameSettings, 0, 0, limitOf(9)), raw(http2.FrameSettings, 0, 0, "\x00\x05\x00\x00\x40\x00")),
		[]string{"limit 9", "settings", "settings"}, 2,
	},
	{
		"each settings frame is told", slices.Concat(raw(http2.FrameSettings, 0, 0, limitOf(9)), raw(http2.FrameSettings, 0, 0, limitOf(9))),
		[]string{"limit 9", "settings", "limit 9", "settings"}, 2,
	},
	{"settings acknowledgement", raw(http2.FrameSettings, http2.FlagSettingsAck, 0, ""), nil, 1},
	{"settings acknowledgement with a payload", raw(http2.FrameSettings, http2.FlagSettingsAck, 0, limitOf(4)), nil, 1},
	{"settings on a stream", raw(http2.FrameSettings, 0, 1, limitOf(4)), nil, 1},
	{"settings of odd length", raw(http2.FrameSettings, 0, 0, limitOf(4)+"x"), nil, 1},
	{"settings on the reserved bit is stream 0", raw(http2.FrameSettings, 0, 1<<31, limitOf(4)), []string{"limit 4", "settings"}, 1},
	{"reset", raw(http2.FrameRSTStream, 0, 5, "\x00\x00\x00\x08"), []string{"reset 5 CANCEL"}, 1},
	{"reset with NO_ERROR", raw(http2.FrameRSTStream, 0, 5, "\x00\x00\x00\x00"), []string{"reset 5 NO_ERROR"}, 1},
	{"reset with the reserved bit", raw(http2.FrameRSTStream, 0, 1<<31|7, "\x00\x00\x00\x07"), []string{"reset 7 REFUSED_STREAM"}, 1},
	{"reset of stream 0", raw(http2.FrameRSTStream, 0, 0, "\x00\x00\x00\x08"), nil, 1},
	{"reset too short", raw(http2.FrameRSTStream, 0, 1, "\x00\x00\x08"), nil, 1},
	{"reset too long", raw(http2.FrameRSTStream, 0, 1, "\x00\x00\x00\x00\x08"), nil, 1},
	{"reset without payload", raw(http2.FrameRSTStream, 0, 1, ""), nil, 1},
	{"goaway", raw(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x2b\x00\x00\x00\x00"), []string{`goaway 43 NO_ERROR ""`}, 1},
	{
		"goaway with debug data", raw(http2.FrameGoAway, 0, 0, "\x80\x00\x00\x01\x00\x00\x00\x0btoo_many_pings"),
		[]string{`goaway 1 ENHANCE_YOUR_CALM "too_many_pings"`}, 1,
	},
	{
		"goaway with debug data that would forge a log line", raw(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x02a\n\x1b[2Jü\x7f"),
		[]string{`goaway 0 INTERNAL_ERROR "a..[2J..."`}, 1,
	},
	{
		"goaway with 256 bytes of debug data", raw(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00"+strings.Repeat("d", 256)),
		[]string{`goaway 0 NO_ERROR "` + strings.Repeat("d", 256) + `"`}, 1,
	},
	{
		"goaway with more debug data than is kept", raw(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00"+strings.Repeat("d", 256)+"e"),
		[]string{`goaway 0 NO_ERROR "` + strings.Repeat("d", 256) + `"`}, 1,
	},
	{
		"goaway twice, as a graceful server does", slices.Concat(
			raw(http2.FrameGoAway, 0, 0, "\x7f\xff\xff\xff\x00\x00\x00\x00graceful_stop"), raw(http2.FramePing, 0, 0, "01234567"),
			raw(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x09\x00\x00\x00\x00")),
		[]string{`goaway 2147483647 NO_ERROR "graceful_stop"`, `goaway 9 NO_ERROR ""`}, 3,
	},
	{"goaway on a stream", raw(http2.FrameGoAway, 0, 3, "\x00\x00\x00\x00\x00\x00\x00\x00"), nil, 1},
	{"goaway too short", raw(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00"), nil, 1},
	{"data", raw(http2.FrameData, http2.FlagDataEndStream, 1, "hello"), nil, 1},
	{"empty data", raw(http2.FrameData, http2.FlagDataEndStream, 1, ""), nil, 1},
	{"data that looks like a reset", raw(http2.FrameData, 0, 1, string(raw(http2.FrameRSTStream, 0, 1, "\x00\x00\x00\x08"))), nil, 1},
	{
		"headers, continuation, ping, window update, priority, push promise", slices.Concat(
			raw(http2.FrameHeaders, 0, 1, "\x88"), raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, "\x88"),
			raw(http2.FramePing, 0, 0, "01234567"), raw(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x01"),
			raw(http2.FramePriority, 0, 1, "01234"), raw(http2.FramePushPromise, 0, 1, "0123")), nil, 6,
	},
	{"unknown type", raw(0xfe, 0xff, 1, "payload"), nil, 1},
}

func TestEachFrameIsToldAsTheProtocolSays(t *testing.T) {
	for _, tt := range scanTests {
		t.Run(tt.name, func(t *testing.T) {
			rec, c, out := tapped(t, tt.in)
			if got := rec.heard(); !slices.Equal(got, tt.want) {
				t.Errorf("heard %q, want %q", got, tt.want)
			}
			if got := c.FramesRead(); got != tt.frames {
				t.Errorf("FramesRead %d, want %d", got, tt.frames)
			}
			if got, want := c.BytesRead(), uint64(len(tt.in)); got != want {
				t.Errorf("BytesRead %d, want %d", got, want)
			}
			if !bytes.Equal(out, tt.in) {
				t.Errorf("passed %q, want %q", out, tt.in)
			}
		})
	}
}

func TestAFrameIsToldTheSameWhereverItIsSplit(t *testing.T) {
	mark := raw(http2.FrameRSTStream, 0, 99, "\x00\x00\x00\x01") // proves that the tap is still in step
	for _, tt := range scanTests {
		t.Run(tt.name, func(t *testing.T) {
			in := slices.Concat(tt.in, mark)
			want := append(slices.Clone(tt.want), "reset 99 PROTOCOL_ERROR")
			for i := range in {
				if rec, _, _ := tapped(t, in[:i], in[i:]); !slices.Equal(rec.heard(), want) {
					t.Fatalf("split at %d: heard %q, want %q", i, rec.heard(), want)
				}
			}
			var single [][]byte
			for i := range in {
				single = append(single, in[i:i+1])
			}
			if rec, _, _ := tapped(t, single...); !slices.Equal(rec.heard(), want) {
				t.Fatalf("byte by byte: heard %q, want %q", rec.heard(), want)
			}
		})
	}
}

func TestAFrameThatNeverEndsIsNotTold(t *testing.T) {
	for _, tt := range scanTests {
		if len(tt.want) == 0 || tt.frames > 1 {
			continue
		}
		for i := range tt.in {
			if rec, _, _ := tapped(t, tt.in[:i]); len(rec.heard()) > 0 {
				t.Errorf("%s: %d of %d bytes: heard %q", tt.name, i, len(tt.in), rec.heard())
			}
		}
	}
}

func TestTheLargestFramesHoldNoMemory(t *testing.T) {
	const largest = 1<<24 - 1
	for _, tt := range []struct {
		typ  http2.FrameType
		want string
	}{
		{http2.FrameData, ""},
		{http2.FrameSettings, ""}, // 1<<24-1 is not a multiple of 6
		{http2.FrameGoAway, `goaway 1684300900 UNKNOWN(0x64646464) "` + strings.Repeat("d", 256) + `"`},
	} {
		var s scanner
		rec := &recorder{}
		chunk := bytes.Repeat([]byte("d"), 1<<16)
		s.scan([]byte{0xff, 0xff, 0xff, byte(tt.typ), 0, 0, 0, 0, 0}, rec)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for left := largest; left > 0; left -= len(chunk) {
			s.scan(chunk[:min(left, len(chunk))], rec)
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<10 {
			t.Errorf("%v of %d bytes: %d bytes allocated", tt.typ, largest, grown)
		}
		var want []string
		if tt.want != "" {
			want = []string{tt.want}
		}
		if got := rec.heard(); !slices.Equal(got, want) {
			t.Errorf("%v: heard %q, want %q", tt.typ, got, want)
		}
		s.scan(raw(http2.FrameSettings, 0, 0, ""), rec)
		if got := rec.heard(); len(got) == 0 || got[len(got)-1] != "settings" {
			t.Errorf("%v: out of step: %q", tt.typ, got)
		}
	}
}

func TestCodesHaveTheirNamesInTheStandard(t *testing.T) {
	for c := range Code(14) {
		if got, want := c.String(), http2.ErrCode(c).String(); got != want {
			t.Errorf("Code(%d) %s, want %s", uint32(c), got, want)
		}
	}
	for c, want := range map[Code]string{14: "UNKNOWN(0xe)", 1<<32 - 1: "UNKNOWN(0xffffffff)", HTTP11Required: "HTTP_1_1_REQUIRED"} {
		if got := c.String(); got != want {
			t.Errorf("Code(%d) %s, want %s", uint32(c), got, want)
		}
	}
}
