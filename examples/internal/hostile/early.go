package hostile

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// forged is what an enclave would like to see in a log, or on the terminal of whoever reads it.
const forged = "\x1b[2J\nlevel=INFO msg=\"all is well\"\r\x00"

// setting is a SETTINGS frame that says anything.
func setting(id http2.SettingID, value uint32) []byte {
	payload := binary.BigEndian.AppendUint16(nil, uint16(id))
	return frame(http2.FrameSettings, 0, 0, binary.BigEndian.AppendUint32(payload, value))
}

func garbage(p *peer) {
	b := make([]byte, 4<<10)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	p.flood(b)
}

// goAway is a GOAWAY frame.
func goAway(code uint32, debug string) []byte {
	payload := binary.BigEndian.AppendUint32([]byte{0x7f, 0xff, 0xff, 0xff}, code)
	return frame(http2.FrameGoAway, 0, 0, append(payload, debug...))
}

// refusedText is how gRPC tells of a REFUSED_STREAM, in the mouth of an enclave.
const refusedText = "stream terminated by RST_STREAM with error code: REFUSED_STREAM"

// earlyAttacks begin with the connection.
var earlyAttacks = []attack{
	{name: "close-at-once", does: "closes every connection right after accepting it", held: never, raw: true,
		run: func(p *peer) { p.conn.Close() }},
	{name: "garbage", does: "sends random bytes without end", held: never, raw: true, run: garbage},
	{name: "http1", does: "answers in HTTP/1.1", held: never, raw: true,
		run: func(p *peer) { p.bytes([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) }},
	{name: "half-settings", does: "sends half of a SETTINGS frame, then nothing", held: never, raw: true,
		run: func(p *peer) { p.bytes(setting(http2.SettingMaxConcurrentStreams, 100)[:12]) }},
	{name: "slow-drip", does: "sends a good beginning, one byte every 20 ms", held: never, raw: true,
		run: func(p *peer) {
			b := setting(http2.SettingMaxConcurrentStreams, 100)
			p.drip(20*time.Millisecond, func(i int) []byte { return b[i%len(b) : i%len(b)+1] })
		}},
	{name: "settings-and-silence", does: "sends SETTINGS, and never answers the health check", held: never,
		answer: func(*peer, request) {}},
	{name: "settings-flood-first", does: "sends SETTINGS without end, and answers nothing", held: never,
		run:    func(p *peer) { p.flood(bytes.Repeat(setting(http2.SettingInitialWindowSize, 65535), 100)) },
		answer: func(*peer, request) {}},
	{name: "no-window", does: "lets the client send no data: INITIAL_WINDOW_SIZE 0, and no WINDOW_UPDATE", held: never,
		first: []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}},
	{name: "no-streams", does: "MAX_CONCURRENT_STREAMS 0, for ever", held: never,
		first: []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}}},
	{name: "frame-size-0", does: "MAX_FRAME_SIZE 0 at once", held: harmless,
		first: []http2.Setting{{ID: http2.SettingMaxFrameSize, Val: 0}}},
	{name: "health-huge", does: "answers health checks with SERVING in 3 MiB", held: never,
		answer: func(p *peer, r request) { p.respond(r.stream, hugeServing(3<<20), 0, "") }},
	{name: "health-nonsense", does: "answers health checks with bytes that are no message", held: never,
		answer: func(p *peer, r request) { p.respond(r.stream, bytes.Repeat([]byte{0xff}, 100), 0, "") }},
	{name: "health-unknown-status", does: "answers health checks with a status that does not exist", held: never,
		answer: func(p *peer, r request) { p.respond(r.stream, []byte{0x08, 0xb9, 0x60}, 0, "") }},
	{name: "health-forged-refusal", does: "answers health checks with 30 KB of forged log lines that end like gRPC's word for a refused stream", held: never,
		answer: func(p *peer, r request) {
			p.fail(r.stream, 14, percent(strings.Repeat(forged, 800)+refusedText))
		}},
	{name: "goaway-at-once", does: "sends GOAWAY, with forged log lines as debug data, before anything else", held: never, raw: true,
		run: func(p *peer) { p.bytes(goAway(2, strings.Repeat(forged, 200))) }},
}

// hugeServing says SERVING, and carries an unknown field of n bytes.
func hugeServing(n int) []byte {
	return append(binary.AppendUvarint(append(bytes.Clone(serving), 0x7a), uint64(n)), make([]byte, n)...)
}

// percent encodes text as grpc-message wants it.
func percent(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
			continue
		}
		const digits = "0123456789ABCDEF"
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}
