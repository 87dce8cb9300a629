package h2tap

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder writes down what an observer hears, one line an event, Closed apart.
type recorder struct {
	mu     sync.Mutex
	events []string
	closed []error
	hold   time.Duration // the answer to HoldGoAway
	asked  func()        // called by HoldGoAway, if any
}

func (r *recorder) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf(format, args...))
}

func (r *recorder) MaxConcurrentStreams(n uint32) { r.add("limit %d", n) }
func (r *recorder) Settings()                     { r.add("settings") }
func (r *recorder) StreamReset(id, code uint32)   { r.add("reset %d %s", id, Code(code)) }
func (r *recorder) GoAway(last, code uint32, debug string) {
	r.add("goaway %d %s %q", last, Code(code), debug)
}
func (r *recorder) HoldGoAway() time.Duration {
	if r.asked != nil {
		r.asked()
	}
	return r.hold
}
func (r *recorder) Closed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = append(r.closed, err)
}

func (r *recorder) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *recorder) closedWith() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.closed)
}

// pieces is a net.Conn whose reads return the given pieces one by one, then err. Its other methods must not be called.
type pieces struct {
	net.Conn
	left [][]byte
	err  error
}

func (c *pieces) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, c.err
	}
	n := copy(p, c.left[0])
	if c.left[0] = c.left[0][n:]; len(c.left[0]) == 0 {
		c.left = c.left[1:]
	}
	return n, nil
}

// tapped reads the pieces through a tap until they end, and returns what was heard and the bytes that came out.
func tapped(t testing.TB, in ...[]byte) (*recorder, *Conn, []byte) {
	t.Helper()
	in = slices.DeleteFunc(slices.Clone(in), func(p []byte) bool { return len(p) == 0 })
	rec := &recorder{}
	c := New(&pieces{left: in, err: io.EOF}, rec)
	out, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return rec, c, out
}

// frames returns the bytes that write makes a Framer write.
func frames(write func(*http2.Framer)) []byte {
	var b bytes.Buffer
	fr := http2.NewFramer(&b, nil)
	fr.AllowIllegalWrites = true
	write(fr)
	return b.Bytes()
}

// raw returns one frame, well-formed or not.
func raw(typ http2.FrameType, flags http2.Flags, stream uint32, payload string) []byte {
	n := len(payload)
	return append([]byte{
		byte(n >> 16), byte(n >> 8), byte(n), byte(typ), byte(flags),
		byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream),
	}, payload...)
}

// limitOf is a SETTINGS payload with n for SETTINGS_MAX_CONCURRENT_STREAMS.
func limitOf(n byte) string { return "\x00\x03\x00\x00\x00" + string(n) }

// unixPair returns the two ends of a unix socket connection.
func unixPair(t testing.TB) (client, server *net.UnixConn) {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.DialTimeout("unix", l.Addr().String(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		c.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.UnixConn), s.(*net.UnixConn)
}
