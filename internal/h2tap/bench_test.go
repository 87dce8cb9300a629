package h2tap

import (
	"bytes"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/mem"
)

// pair is what a warm stream's answer costs at most: HEADERS and DATA with a 64-byte signature in a gRPC message.
var pair = slices.Concat(
	raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, string(bytes.Repeat([]byte{0x88}, 14))),
	raw(http2.FrameData, 0, 1, string(make([]byte, 71))))

// endless is a net.Conn whose every read returns the same bytes, at no cost but the copy.
type endless struct {
	net.Conn
	data []byte
}

func (c *endless) Read(p []byte) (int, error) { return copy(p, c.data), nil }

// silent is an observer that does nothing, so that what is measured is the tap.
type silent struct{}

func (silent) MaxConcurrentStreams(uint32)   {}
func (silent) Settings()                     {}
func (silent) StreamReset(uint32, uint32)    {}
func (silent) GoAway(uint32, uint32, string) {}
func (silent) HoldGoAway() time.Duration     { return 0 }
func (silent) Closed(error)                  {}

func readAll(b *testing.B, c net.Conn, size int) {
	buf := make([]byte, size)
	b.ReportAllocs()
	for b.Loop() {
		if n, err := c.Read(buf); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkTapPair reads one HEADERS and DATA pair a read, through a tap and bare: the difference is what a read
// costs. The 100-pair rows show what a pair costs when a read brings many, and the socket rows stand for scale.
func BenchmarkTapPair(b *testing.B) {
	b.Run("tap", func(b *testing.B) { readAll(b, New(&endless{data: pair}, silent{}), 4096) })
	b.Run("bare", func(b *testing.B) { readAll(b, &endless{data: pair}, 4096) })
	b.Run("scan", func(b *testing.B) {
		var s scanner
		b.ReportAllocs()
		for b.Loop() {
			s.scan(pair, silent{})
		}
	})
	hundred := bytes.Repeat(pair, 100)
	perPair := func(b *testing.B) { b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/pair") }
	b.Run("tap-100", func(b *testing.B) {
		readAll(b, New(&endless{data: hundred}, silent{}), 32<<10)
		perPair(b)
	})
	b.Run("bare-100", func(b *testing.B) {
		readAll(b, &endless{data: hundred}, 32<<10)
		perPair(b)
	})
}

// BenchmarkSocketPair writes a pair to a unix socket and reads it back, through a tap and bare.
func BenchmarkSocketPair(b *testing.B) {
	for _, through := range []string{"tap", "bare"} {
		b.Run(through, func(b *testing.B) {
			client, server := unixPair(b)
			var c net.Conn = client
			if through == "tap" {
				c = New(client, silent{})
			}
			buf := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := server.Write(pair); err != nil {
					b.Fatal(err)
				}
				if n, err := c.Read(buf); n != len(pair) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// onePool hands out the same buffer again and again.
type onePool struct{ b []byte }

func (p *onePool) Get(int) *[]byte { return &p.b }
func (p *onePool) Put(*[]byte)     {}

func TestPassingFramesAllocatesNothing(t *testing.T) {
	buf := make([]byte, 4096)
	client, server := unixPair(t)
	socket := New(client, silent{})
	var pool mem.BufferPool = &onePool{make([]byte, 4096)}
	fed := New(&endless{data: pair}, silent{})
	control := New(&endless{data: slices.Concat(raw(http2.FrameSettings, 0, 0, limitOf(7)), raw(http2.FrameRSTStream, 0, 1, "\x00\x00\x00\x08"))}, silent{})
	var split scanner
	for name, f := range map[string]func(){
		"HEADERS and DATA":                      func() { fed.Read(buf) },
		"SETTINGS and RST_STREAM":               func() { control.Read(buf) },
		"HEADERS and DATA, header by one byte":  func() { split.scan(pair[:1], silent{}); split.scan(pair[1:], silent{}) },
		"HEADERS and DATA from a ready socket":  func() { server.Write(pair); socket.ReadOnReady(4096, pool) },
		"HEADERS and DATA through the fallback": func() { fed.ReadOnReady(4096, pool) },
	} {
		if got := testing.AllocsPerRun(1000, f); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
	if got, want := socket.FramesRead(), uint64(2*1001); got != want {
		t.Errorf("%d frames from the socket, want %d", got, want)
	}
}
