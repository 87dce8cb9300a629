package h2tap

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/mem"
)

// countingPool hands out fresh buffers, counts those that are out, and tells of each return.
type countingPool struct {
	out  int // belongs to the goroutine that reads, until it has told of a return
	back chan int
}

func (p *countingPool) Get(n int) *[]byte {
	p.out++
	b := make([]byte, n)
	return &b
}

func (p *countingPool) Put(*[]byte) {
	p.out--
	select {
	case p.back <- p.out:
	default:
	}
}

var settings7 = raw(http2.FrameSettings, 0, 0, limitOf(7))

func TestAnIdleSocketHoldsNoBuffer(t *testing.T) {
	for _, wrap := range []struct {
		name string
		conn func(*net.UnixConn) net.Conn
	}{
		{"a unix connection", func(c *net.UnixConn) net.Conn { return c }},
		{"a wrapper whose reads are the socket's", func(c *net.UnixConn) net.Conn { return rawWrapper{c, c} }},
		{"a tap", func(c *net.UnixConn) net.Conn { return New(c, &recorder{}) }},
	} {
		t.Run(wrap.name, func(t *testing.T) {
			client, server := unixPair(t)
			holdsNoBuffer(t, wrap.conn(client), server)
		})
	}
}

// holdsNoBuffer starts a read by ReadOnReady, waits until it waits, and only then writes from the server's side.
func holdsNoBuffer(t *testing.T, client, server net.Conn) {
	t.Helper()
	rec := &recorder{}
	c := New(client, rec)
	pool := &countingPool{back: make(chan int, 100)}
	type result struct {
		b   *[]byte
		n   int
		err error
	}
	read := make(chan result)
	go func() {
		b, n, err := c.ReadOnReady(4096, pool)
		read <- result{b, n, err}
	}()
	// Nothing was written, so this return is the reader's before its wait.
	select {
	case out := <-pool.back:
		if out != 0 {
			t.Errorf("%d buffers held while nothing has come", out)
		}
	case <-time.After(10 * time.Second):
		t.Error("the buffer is held while nothing has come")
	}
	if _, err := server.Write(settings7); err != nil {
		t.Fatal(err)
	}
	r := <-read
	if r.err != nil || r.b == nil || len(*r.b) != 4096 || !slices.Equal((*r.b)[:r.n], settings7) {
		t.Fatalf("%d bytes, error %v", r.n, r.err)
	}
	if got := rec.heard(); !slices.Equal(got, []string{"limit 7", "settings"}) {
		t.Errorf("heard %q", got)
	}
	if pool.out != 1 {
		t.Errorf("%d buffers out, want the one that was returned", pool.out)
	}
}

// rawWrapper is a connection of another type whose reads are those of its socket.
type rawWrapper struct {
	net.Conn
	socket *net.UnixConn
}

func (w rawWrapper) RawRead() (syscall.RawConn, error) { return w.socket.SyscallConn() }

// encrypted has the SyscallConn of its socket and bytes of its own, as the TLS credentials' connections do.
type encrypted struct {
	*net.UnixConn
}

func (c encrypted) Read(p []byte) (int, error) {
	n, err := c.UnixConn.Read(p)
	for i := range p[:n] {
		p[i] ^= 0x55
	}
	return n, err
}

func TestASocketUnderAConnectionIsNotReadOnItsBehalf(t *testing.T) {
	client, server := unixPair(t)
	rec := &recorder{}
	c := New(encrypted{client}, rec)
	cipher := slices.Clone(settings7)
	for i := range cipher {
		cipher[i] ^= 0x55
	}
	server.Write(cipher)
	b, n, err := c.ReadOnReady(4096, &countingPool{})
	if err != nil || !slices.Equal((*b)[:n], settings7) {
		t.Fatalf("%d bytes, error %v", n, err)
	}
	if got := rec.heard(); !slices.Equal(got, []string{"limit 7", "settings"}) {
		t.Errorf("heard %q", got)
	}
}

func TestReadOnReadyIsLeftToAConnectionThatHasIt(t *testing.T) {
	client, server := unixPair(t)
	own := &ownReady{Conn: client}
	rec := &recorder{}
	c := New(own, rec)
	server.Write(settings7)
	b, n, err := c.ReadOnReady(4096, &countingPool{})
	if err != nil || !slices.Equal((*b)[:n], settings7) || own.calls != 1 || len(rec.heard()) != 2 {
		t.Fatalf("%d bytes, error %v, %d calls, heard %q", n, err, own.calls, rec.heard())
	}
}

type ownReady struct {
	net.Conn
	calls int
}

func (c *ownReady) ReadOnReady(size int, pool mem.BufferPool) (*[]byte, int, error) {
	c.calls++
	b := pool.Get(size)
	n, err := c.Read(*b)
	return b, n, err
}

func TestReadOnReadyFailsAsReadDoes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		do      func(c *Conn, client, server *net.UnixConn)
		want    error
		unwraps bool // into a *net.OpError for a read
		closed  bool
	}{
		{"peer closed", func(_ *Conn, _, s *net.UnixConn) { s.Close() }, io.EOF, false, true},
		{"peer closed with our bytes unread", func(c *Conn, _, s *net.UnixConn) {
			c.Write([]byte("unread"))
			s.Close()
		}, syscall.ECONNRESET, true, true},
		{"closed here", func(c *Conn, _, _ *net.UnixConn) { c.Close() }, net.ErrClosed, true, true},
		{"closed underneath", func(_ *Conn, c, _ *net.UnixConn) { c.Close() }, net.ErrClosed, true, true},
		{"deadline", func(c *Conn, _, _ *net.UnixConn) { c.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded, true, false},
	} {
		for _, late := range []bool{false, true} {
			name := tt.name + " before the read"
			if late {
				name = tt.name + " during the read"
			}
			t.Run(name, func(t *testing.T) {
				client, server := unixPair(t)
				rec := &recorder{}
				c := New(client, rec)
				pool := &countingPool{back: make(chan int, 100)}
				if !late {
					tt.do(c, client, server)
				}
				failed := make(chan error)
				go func() {
					b, n, err := c.ReadOnReady(4096, pool)
					if b != nil || n != 0 {
						t.Errorf("returned a buffer with %d bytes", n)
					}
					failed <- err
				}()
				if late {
					<-pool.back
					tt.do(c, client, server)
				}
				err := <-failed
				if !errors.Is(err, tt.want) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if op, ok := errors.AsType[*net.OpError](err); ok != tt.unwraps || ok && (op.Op != "read" || op.Net != "unix") {
					t.Errorf("error %#v", err)
				}
				if pool.out != 0 {
					t.Errorf("%d buffers lost", pool.out)
				}
				if got := rec.closedWith(); len(got) == 1 != tt.closed || tt.closed && !errors.Is(got[0], tt.want) {
					t.Errorf("Closed %v", got)
				}
			})
		}
	}
}

func TestAConnectionWithoutASocketIsReadWithABufferInHand(t *testing.T) {
	client, server := net.Pipe()
	rec := &recorder{}
	c := New(client, rec)
	pool := &countingPool{}
	go func() {
		server.Write(settings7)
		server.Close()
	}()
	b, n, err := c.ReadOnReady(4096, pool)
	if err != nil || !slices.Equal((*b)[:n], settings7) || pool.out != 1 {
		t.Fatalf("%d bytes, error %v, %d buffers out", n, err, pool.out)
	}
	if b, n, err := c.ReadOnReady(4096, pool); b != nil || n != 0 || err != io.EOF || pool.out != 1 {
		t.Fatalf("%d bytes, error %v, %d buffers out", n, err, pool.out)
	}
	if len(rec.heard()) != 2 || len(rec.closedWith()) != 1 {
		t.Errorf("heard %q, closed %v", rec.heard(), rec.closedWith())
	}
}

func TestAReadOfNothingIsNotTheEnd(t *testing.T) {
	client, server := unixPair(t)
	rec := &recorder{}
	c := New(client, rec)
	server.Write(settings7)
	pool := &countingPool{}
	if b, n, err := c.ReadOnReady(0, pool); b != nil || n != 0 || err != nil || pool.out != 0 {
		t.Fatal(b, n, err, pool.out)
	}
}
