package hostile

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

var pingFrame = frame(http2.FramePing, 0, 0, make([]byte, 8))

// u32 is a payload of one number.
func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// resets are RST_STREAM frames for the streams from first.
func resets(first uint32, n int) []byte {
	var b []byte
	for i := range uint32(n) {
		b = append(b, frame(http2.FrameRSTStream, 0, first+2*i, u32(uint32(http2.ErrCodeInternal)))...)
	}
	return b
}

// lateAttacks begin a moment after the connection was admitted, and concern it as a whole.
var lateAttacks = []attack{
	{name: "close-after-admission", does: "closes each connection a moment after it was admitted", held: thrownOut, late: true,
		run: func(p *peer) { p.conn.Close() }},
	{name: "garbage-after-admission", does: "is admitted, then sends random bytes", held: thrownOut, late: true, run: garbage},
	{name: "half-frame", does: "sends half a frame, then nothing", held: thrownOut, late: true,
		run: func(p *peer) { p.bytes(frame(http2.FrameData, 0, 1, make([]byte, 1000))[:500]) }, answer: func(*peer, request) {}, deaf: true},
	{name: "slow-frame", does: "sends one frame, a byte every 40 ms, and reads nothing", held: thrownOut, slow: true, late: true,
		run: func(p *peer) {
			b := frame(http2.FrameData, 0, 1, make([]byte, 16<<10))
			p.drip(40*time.Millisecond, func(i int) []byte { return b[i%len(b) : i%len(b)+1] })
		}, answer: func(*peer, request) {}, deaf: true},
	{name: "pings-and-no-answers", does: "sends a PING every 40 ms, and answers nothing", held: thrownOut, slow: true, late: true,
		run:    func(p *peer) { p.drip(40*time.Millisecond, func(int) []byte { return pingFrame }) },
		answer: func(*peer, request) {}},
	{name: "settings-flood", does: "sends SETTINGS without end, and answers calls", held: thrownOut, late: true,
		run: func(p *peer) { p.flood(bytes.Repeat(setting(http2.SettingInitialWindowSize, 65535), 100)) }},
	{name: "settings-flood-deaf", does: "sends SETTINGS without end, and reads nothing", held: thrownOut, late: true, deaf: true,
		run: func(p *peer) { p.flood(bytes.Repeat(setting(http2.SettingInitialWindowSize, 65535), 100)) }},
	{name: "ping-flood", does: "sends PING without end, and answers calls", held: thrownOut, late: true,
		run: func(p *peer) { p.flood(bytes.Repeat(pingFrame, 100)) }},
	{name: "ping-flood-deaf", does: "sends PING without end, and reads nothing", held: thrownOut, late: true, deaf: true,
		run: func(p *peer) { p.flood(bytes.Repeat(pingFrame, 100)) }},
	{name: "reset-flood", does: "sends RST_STREAM without end, for streams open and never opened", held: thrownOut, late: true,
		run: func(p *peer) { p.flood(slices.Concat(resets(1, 100), resets(1<<20+1, 100))) }},
	{name: "window-shut", does: "takes the window back: INITIAL_WINDOW_SIZE 0, never a WINDOW_UPDATE", held: thrownOut, late: true,
		run: func(p *peer) { p.bytes(setting(http2.SettingInitialWindowSize, 0)) }},
	{name: "window-overflow", does: "sends WINDOW_UPDATE of 2³¹−1 without end, on the connection and on streams", held: thrownOut, late: true,
		run: func(p *peer) {
			top := u32(math.MaxInt32)
			p.flood(bytes.Repeat(slices.Concat(frame(http2.FrameWindowUpdate, 0, 0, top), frame(http2.FrameWindowUpdate, 0, 1, top)), 50))
		}},
	{name: "limit-flapping", does: "MAX_CONCURRENT_STREAMS 0, 1 and 2³²−1 in turn, without end", held: thrownOut, late: true,
		run: func(p *peer) {
			var b []byte
			for range 50 {
				for _, n := range []uint32{0, math.MaxUint32, 1, math.MaxUint32} {
					b = append(b, setting(http2.SettingMaxConcurrentStreams, n)...)
				}
			}
			p.flood(b)
		}},
	{name: "no-streams-later", does: "MAX_CONCURRENT_STREAMS 0, for ever, once admitted", held: harmless, late: true,
		run: func(p *peer) { p.bytes(setting(http2.SettingMaxConcurrentStreams, 0)) }},
	{name: "frame-size-nonsense", does: "MAX_FRAME_SIZE 0 and 2³²−1 in turn", held: harmless, late: true,
		run: func(p *peer) {
			p.drip(5*time.Millisecond, func(i int) []byte {
				return setting(http2.SettingMaxFrameSize, []uint32{0, math.MaxUint32}[i%2])
			})
		}},
	{name: "push-promise", does: "sends PUSH_PROMISE without end", held: thrownOut, late: true,
		run: func(p *peer) {
			p.flood(frame(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, append(u32(2), 0x88)))
		}},
	{name: "unknown-frames", does: "sends frames of a type that does not exist, without end", held: harmless, late: true,
		run: func(p *peer) { p.flood(frame(0xbb, 0xff, 1, bytes.Repeat([]byte(forged), 100))) }},
	{name: "huge-frame", does: "announces a frame of 16 MiB, and sends it", held: thrownOut, late: true,
		run: func(p *peer) {
			if p.bytes([]byte{0xff, 0xff, 0xff, byte(http2.FrameData), 0, 0, 0, 0, 1}) {
				p.flood(make([]byte, 16<<10))
			}
		}},
	{name: "goaway-every-code", does: "sends GOAWAY, of each connection another code, with forged log lines as debug data", held: thrownOut, late: true,
		run: func(p *peer) { p.bytes(goAway(nextCode(), strings.Repeat(forged, 200))) }},
	{name: "goaway-16k", does: "sends GOAWAY with 16 KB of debug data while calls are open, and answers none", held: thrownOut, late: true,
		run: func(p *peer) {
			p.bytes(goAway(2, strings.Repeat(forged, 400)))
			<-time.After(moment)
			p.conn.Close()
		}, answer: func(*peer, request) {}},
	{name: "goaway-endless", does: "sends GOAWAY for age without end, while calls are open", held: thrownOut, late: true,
		run:    func(p *peer) { p.flood(bytes.Repeat(goAway(0, "max_age"), 100)) },
		answer: func(*peer, request) {}},
	{name: "goaway-pings-endless", does: "sends GOAWAY too_many_pings without end, while calls are open", held: thrownOut, late: true,
		run:    func(p *peer) { p.flood(bytes.Repeat(goAway(11, "too_many_pings"), 100)) },
		answer: func(*peer, request) {}},
	{name: "goaway-after-answer", does: "answers every call, and sends GOAWAY behind the answer", held: thrownOut, late: true, probesWell: true,
		answer: func(p *peer, r request) {
			p.answer(r)
			p.bytes(goAway(0, ""))
		}},
	{name: "close-after-answer", does: "answers every call, and closes the connection behind the answer", held: thrownOut, late: true, probesWell: true,
		answer: func(p *peer, r request) {
			p.answer(r)
			p.conn.Close()
		}},
}
