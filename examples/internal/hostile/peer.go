package hostile

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// peer is one connection of the hostile enclave.
type peer struct {
	conn   net.Conn
	attack attack
	begun  atomic.Bool
	gone   chan struct{} // closed when the connection is

	open  map[uint32]request // the reader's: streams whose request is not complete
	timer *time.Timer        // the reader's: begins a late attack

	mu      sync.Mutex // guards what is written
	framer  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
}

// request is a call that has arrived.
type request struct {
	stream uint32
	method string
}

func (r request) probe() bool { return strings.HasPrefix(r.method, "/grpc.health.") }

// serve speaks to one client until the connection ends.
func serve(conn net.Conn, a attack) {
	p := &peer{conn: conn, attack: a, gone: make(chan struct{}), open: map[uint32]request{}}
	p.encoder = hpack.NewEncoder(&p.block)
	p.framer = http2.NewFramer(conn, conn)
	p.framer.AllowIllegalWrites = true
	run := func() {
		if a.run != nil {
			a.run(p)
		}
	}
	if a.late {
		p.timer = time.AfterFunc(time.Hour, func() {
			if p.begun.CompareAndSwap(false, true) {
				run()
			}
		})
		p.timer.Stop()
	} else {
		p.begun.Store(true)
		go run()
	}
	if a.raw {
		_, _ = io.Copy(io.Discard, conn) // until the client gives up
	} else {
		p.read()
	}
	close(p.gone)
	conn.Close() // which ends the attack
	if p.timer != nil {
		p.timer.Stop()
	}
}

// read takes the client's frames.
func (p *peer) read() {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(p.conn, preface); err != nil {
		return
	}
	p.write(func(fr *http2.Framer) { _ = fr.WriteSettings(p.attack.first...) })
	p.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := p.framer.ReadFrame()
		if err != nil {
			return
		}
		if p.attack.deaf && p.begun.Load() {
			<-time.After(time.Minute) // its process is ended long before
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				p.write(func(fr *http2.Framer) { _ = fr.WriteSettingsAck() })
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				p.write(func(fr *http2.Framer) { _ = fr.WritePing(true, f.Data) })
			}
		case *http2.MetaHeadersFrame:
			p.open[f.StreamID] = request{f.StreamID, f.PseudoValue("path")}
			p.ended(f.StreamID, f.StreamEnded())
		case *http2.DataFrame:
			if n := f.Header().Length; n > 0 {
				p.write(func(fr *http2.Framer) { _ = fr.WriteWindowUpdate(0, n) })
			}
			p.ended(f.StreamID, f.StreamEnded())
		}
	}
}

// ended answers a request that is complete.
func (p *peer) ended(stream uint32, complete bool) {
	r, ok := p.open[stream]
	if !complete || !ok {
		return
	}
	delete(p.open, stream)
	if p.begun.Load() && p.attack.answer != nil && !(r.probe() && p.attack.probesWell) {
		p.attack.answer(p, r)
		return
	}
	p.answer(r)
	if p.timer != nil && r.probe() && !p.begun.Load() {
		p.timer.Reset(moment)
	}
}

// write writes frames as one piece. Errors are of no interest: the reader sees that the connection has gone.
func (p *peer) write(f func(*http2.Framer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p.framer)
}

// bytes writes raw bytes, and tells whether that worked.
func (p *peer) bytes(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.conn.Write(b)
	return err == nil
}

// frame is the bytes of a frame, however wrong. The length is that of the payload.
func frame(t http2.FrameType, flags http2.Flags, stream uint32, payload []byte) []byte {
	b := make([]byte, 9, 9+len(payload))
	b[0], b[1], b[2] = byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload))
	b[3], b[4] = byte(t), byte(flags)
	binary.BigEndian.PutUint32(b[5:], stream)
	return append(b, payload...)
}

// flood writes the same bytes until the connection has gone.
func (p *peer) flood(b []byte) {
	for p.bytes(b) {
		select {
		case <-p.gone:
			return
		default:
		}
	}
}

// drip writes the bytes that next returns, one call every d, until the connection has gone.
func (p *peer) drip(d time.Duration, next func(i int) []byte) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for i := 0; p.bytes(next(i)); i++ {
		select {
		case <-tick.C:
		case <-p.gone:
			return
		}
	}
}

// headersLocked encodes pairs of names and values.
func (p *peer) headersLocked(pairs ...string) []byte {
	p.block.Reset()
	for i := 0; i+1 < len(pairs); i += 2 {
		_ = p.encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return bytes.Clone(p.block.Bytes())
}

var responseHeaders = []string{":status", "200", "content-type", "application/grpc"}

// serving is a HealthCheckResponse that says so; for calls an empty message does.
var serving = []byte{0x08, 0x01}

// answer answers well.
func (p *peer) answer(r request) {
	if r.probe() {
		p.respond(r.stream, serving, 0, "")
	} else {
		p.respond(r.stream, nil, 0, "")
	}
}

// message is a gRPC message with its prefix.
func message(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
}

// respond answers with a message and a status.
func (p *peer) respond(stream uint32, body []byte, code int, text string) {
	p.write(func(fr *http2.Framer) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true, BlockFragment: p.headersLocked(responseHeaders...)})
		for b := message(body); len(b) > 0; {
			n := min(len(b), 16<<10)
			_ = fr.WriteData(stream, false, b[:n])
			b = b[n:]
		}
		p.trailersLocked(fr, stream, code, text)
	})
}

// trailersLocked ends a stream with a status.
func (p *peer) trailersLocked(fr *http2.Framer, stream uint32, code int, text string) {
	pairs := []string{"grpc-status", strconv.Itoa(code)}
	if text != "" {
		pairs = append(pairs, "grpc-message", text)
	}
	block := p.headersLocked(pairs...)
	first := block[:min(len(block), 16<<10)]
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndStream: true, EndHeaders: len(first) == len(block), BlockFragment: first})
	for block = block[len(first):]; len(block) > 0; {
		n := min(len(block), 16<<10)
		_ = fr.WriteContinuation(stream, n == len(block), block[:n])
		block = block[n:]
	}
}

// fail answers with a status and no message.
func (p *peer) fail(stream uint32, code int, text string) {
	p.write(func(fr *http2.Framer) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true, BlockFragment: p.headersLocked(responseHeaders...)})
		p.trailersLocked(fr, stream, code, text)
	})
}
