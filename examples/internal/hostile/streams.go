package hostile

import (
	"bytes"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

var codes, turns atomic.Uint32

// nextCode counts through the error codes of HTTP/2, and one that does not exist.
func nextCode() uint32 { return (codes.Add(1) - 1) % 15 }

// begin sends the headers of an answer.
func (p *peer) beginAnswer(stream uint32) {
	p.write(func(fr *http2.Framer) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true, BlockFragment: p.headersLocked(responseHeaders...)})
	})
}

// streamAttacks begin a moment after admission, and concern the answers to calls.
var streamAttacks = []attack{
	{name: "no-answers", does: "answers health checks, and no call", held: harmless, late: true, probesWell: true, answer: func(*peer, request) {}},
	{name: "half-answers", does: "begins every answer, and ends none", held: harmless, late: true, probesWell: true,
		answer: func(p *peer, r request) { p.beginAnswer(r.stream) }},
	{name: "endless-continuation", does: "answers with HEADERS that CONTINUATION frames follow without end", held: thrownOut, late: true,
		answer: func(p *peer, r request) {
			if p.bytes(frame(http2.FrameHeaders, 0, r.stream, []byte{0x88})) {
				p.flood(frame(http2.FrameContinuation, 0, r.stream, literal("x", strings.Repeat("y", 10<<10))))
			}
		}},
	{name: "empty-continuation", does: "the same with CONTINUATION frames without a byte in them", held: thrownOut, late: true,
		answer: func(p *peer, r request) {
			if p.bytes(frame(http2.FrameHeaders, 0, r.stream, []byte{0x88})) {
				p.flood(bytes.Repeat(frame(http2.FrameContinuation, 0, r.stream, nil), 1000))
			}
		}},
	{name: "endless-trailers", does: "answers with trailers that CONTINUATION frames of 10 KB follow without end", held: thrownOut, late: true,
		answer: func(p *peer, r request) {
			p.beginAnswer(r.stream)
			if p.bytes(frame(http2.FrameHeaders, http2.FlagHeadersEndStream, r.stream, nil)) {
				p.flood(frame(http2.FrameContinuation, 0, r.stream, literal("x", strings.Repeat("y", 10<<10))))
			}
		}},
	{name: "slow-trailers", does: "answers with trailers that never end: a CONTINUATION of a byte every 40 ms", held: thrownOut, slow: true, late: true,
		answer: func(p *peer, r request) {
			p.beginAnswer(r.stream)
			if p.bytes(frame(http2.FrameHeaders, http2.FlagHeadersEndStream, r.stream, nil)) {
				p.drip(40*time.Millisecond, func(int) []byte { return frame(http2.FrameContinuation, 0, r.stream, []byte{0x88}) })
			}
		}},
	{name: "header-bomb", does: "answers with 16 KB of HPACK that expand to 48 MB", held: harmless, late: true, probesWell: true,
		answer: func(p *peer, r request) {
			block := append([]byte{0x88}, indexed("x", strings.Repeat("y", 4000))...)
			p.bytes(frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, r.stream, append(block, bytes.Repeat([]byte{0xbe}, 12000)...)))
		}},
	{name: "twice", does: "answers every stream twice", held: harmless, late: true, probesWell: true,
		answer: func(p *peer, r request) { p.answer(r); p.answer(r) }},
	{name: "never-opened", does: "answers streams that were never opened, besides those that were", held: harmless, late: true, probesWell: true,
		answer: func(p *peer, r request) {
			p.respond(r.stream+1000, nil, 0, "")
			p.respond(2, nil, 0, "")
			p.answer(r)
		}},
	{name: "beyond-window", does: "answers with a message of 32 MiB, whatever the window", held: harmless, late: true, probesWell: true,
		answer: func(p *peer, r request) {
			p.beginAnswer(r.stream)
			p.bytes(frame(http2.FrameData, 0, r.stream, []byte{0, 0x02, 0, 0, 0}))
			for range 2048 {
				if !p.bytes(frame(http2.FrameData, 0, r.stream, make([]byte, 16<<10))) {
					return
				}
			}
		}},
	{name: "long-status", does: "fails every call with 30 KB of forged log lines", held: harmless, late: true, probesWell: true,
		answer: func(p *peer, r request) { p.fail(r.stream, 13, percent(strings.Repeat(forged, 800))) }},
	{name: "refuses-calls", does: "resets every call with REFUSED_STREAM", held: harmless, late: true, probesWell: true,
		answer: func(p *peer, r request) {
			p.bytes(frame(http2.FrameRSTStream, 0, r.stream, u32(uint32(http2.ErrCodeRefusedStream))))
		}},
	{name: "refuses-all", does: "resets every call and every health check with REFUSED_STREAM", held: thrownOut, slow: true, late: true,
		answer: func(p *peer, r request) {
			p.bytes(frame(http2.FrameRSTStream, 0, r.stream, u32(uint32(http2.ErrCodeRefusedStream))))
		}},
	{name: "claims-refusal", does: "answers everything with a status that reads like a refused stream", held: thrownOut, slow: true, late: true,
		answer: func(p *peer, r request) { p.fail(r.stream, 14, percent(forged+refusedText)) }},
	{name: "health-flapping", does: "answers health checks with SERVING and NOT_SERVING in turn", held: harmless, slow: true, late: true,
		answer: func(p *peer, r request) {
			if r.probe() {
				p.respond(r.stream, []byte{0x08, byte(1 + turns.Add(1)%2)}, 0, "")
			} else {
				p.answer(r)
			}
		}},
	{name: "health-huge-later", does: "answers health checks with SERVING in 3 MiB, once admitted, and no call", held: thrownOut, slow: true, late: true,
		answer: func(p *peer, r request) {
			if r.probe() {
				p.respond(r.stream, hugeServing(3<<20), 0, "")
			}
		}},
	{name: "health-forged-later", does: "fails health checks with 30 KB of forged log lines, once admitted, and answers no call", held: thrownOut, slow: true, late: true,
		answer: func(p *peer, r request) {
			if r.probe() {
				p.fail(r.stream, 13, percent(strings.Repeat(forged, 800)))
			}
		}},
}

// literal is a header field that is not indexed, as HPACK writes it; indexed is one that enters the dynamic table.
func literal(name, value string) []byte { return field(0x00, name, value) }
func indexed(name, value string) []byte { return field(0x40, name, value) }

func field(kind byte, name, value string) []byte {
	b := hpackString([]byte{kind}, name)
	return hpackString(b, value)
}

func hpackString(b []byte, s string) []byte {
	const most = 127 // what fits into the first byte
	if len(s) < most {
		return append(append(b, byte(len(s))), s...)
	}
	b = append(b, most)
	n := len(s) - most
	for ; n >= 128; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n)), s...)
}
