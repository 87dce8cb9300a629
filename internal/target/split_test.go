package target

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/nettest"
)

// recorder is a net.Conn that keeps what is written and the size of each write, and fails once full.
type recorder struct {
	net.Conn
	data  bytes.Buffer
	sizes []int
	full  int // bytes after which writes fail; 0: never
}

var errFull = errors.New("full")

func (r *recorder) Write(p []byte) (int, error) {
	r.sizes = append(r.sizes, len(p))
	runtime.Gosched() // another writer that can come between two pieces will
	if r.full > 0 && r.data.Len()+len(p) > r.full {
		n, _ := r.data.Write(p[:r.full-r.data.Len()])
		return n, errFull
	}
	return r.data.Write(p)
}

// The shortcuts that must not be reachable through the wrapper.
func (r *recorder) ReadFrom(io.Reader) (int64, error) { panic("ReadFrom is a way past Write") }

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31 >> 3)
	}
	return b
}

func TestWritesAreSplitAtSixteenKiB(t *testing.T) {
	for _, n := range []int{0, 1, MaxVsockWrite - 1, MaxVsockWrite, MaxVsockWrite + 1, 3 * MaxVsockWrite, 1<<20 + 7} {
		rec := &recorder{}
		data := pattern(n)
		written, err := splitWrites(rec).Write(data)
		if written != n || err != nil || !bytes.Equal(rec.data.Bytes(), data) {
			t.Errorf("Write of %d bytes: %d, %v; the data arrived whole: %v", n, written, err, bytes.Equal(rec.data.Bytes(), data))
		}
		if want := max(1, (n+MaxVsockWrite-1)/MaxVsockWrite); len(rec.sizes) != want {
			t.Errorf("Write of %d bytes took %d writes, want %d", n, len(rec.sizes), want)
		}
		for _, size := range rec.sizes {
			if size > MaxVsockWrite {
				t.Errorf("Write of %d bytes passed on a write of %d", n, size)
			}
		}
	}
}

func TestNoShortcutAroundWriteIsExposed(t *testing.T) {
	rec := &recorder{}
	conn := splitWrites(rec)
	data := pattern(100_000)
	buffers := net.Buffers{data[:70_000], data[70_000:]}
	if _, err := buffers.WriteTo(conn); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(conn, onlyReader{bytes.NewReader(data)}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(rec.data.Bytes(), append(data, data...)) {
		t.Error("the data is damaged")
	}
	for _, size := range rec.sizes {
		if size > MaxVsockWrite {
			t.Errorf("a write of %d bytes passed", size)
		}
	}
	for name, c := range map[string]net.Conn{"plain": conn, "with descriptor": splitWrites(new(net.UnixConn))} {
		if _, ok := c.(io.ReaderFrom); ok {
			t.Errorf("%s: ReadFrom is exposed", name)
		}
	}
}

type onlyReader struct{ io.Reader }

func TestAFailedPieceReportsTheBytesBeforeIt(t *testing.T) {
	conn := splitWrites(&recorder{full: 2*MaxVsockWrite + 5})
	n, err := conn.Write(pattern(4 * MaxVsockWrite))
	if n != 2*MaxVsockWrite+5 || !errors.Is(err, errFull) {
		t.Errorf("%d, %v", n, err)
	}
}

func TestThePiecesOfOneWriteStayTogether(t *testing.T) {
	rec := &recorder{}
	conn := splitWrites(rec)
	const size = 5*MaxVsockWrite + 100
	var writers sync.WaitGroup
	for _, letter := range []string{"a", "b", "c"} {
		writers.Go(func() {
			if _, err := conn.Write(bytes.Repeat([]byte(letter), size)); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	for rest := rec.data.Bytes(); len(rest) > 0; rest = rest[size:] {
		if bytes.Count(rest[:size], rest[:1]) != size {
			t.Fatal("two writes are interleaved")
		}
	}
}

func TestSyscallConnIsOfferedOnlyWhenThereIsOneUnderneath(t *testing.T) {
	if _, ok := splitWrites(&recorder{}).(syscall.Conn); ok {
		t.Error("a connection without a descriptor offers SyscallConn")
	}
	here, there := net.Pipe()
	there.Close()
	defer here.Close()
	type rawReader interface {
		RawRead() (syscall.RawConn, error)
	}
	if _, ok := splitWrites(here).(rawReader); ok {
		t.Error("a pipe offers RawRead")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r, ok := splitWrites(conn).(rawReader)
	if !ok {
		t.Fatal("a socket does not offer RawRead")
	}
	if _, err := r.RawRead(); err != nil {
		t.Error(err)
	}
}

// pipeOver makes connected pairs for nettest: listen accepts what dial connects to.
func pipeOver(ctx context.Context, l net.Listener, dial func(context.Context) (net.Conn, error)) nettest.MakePipe {
	return func() (net.Conn, net.Conn, func(), error) {
		type result struct {
			c   net.Conn
			err error
		}
		accepted := make(chan result, 1)
		go func() {
			c, err := l.Accept()
			accepted <- result{c, err}
		}()
		client, err := dial(ctx)
		if err != nil {
			l.Close()
			if r := <-accepted; r.err == nil {
				r.c.Close()
			}
			return nil, nil, nil, err
		}
		server := <-accepted
		if server.err != nil {
			client.Close()
			return nil, nil, nil, server.err
		}
		return client, server.c, func() { client.Close(); server.c.Close() }, nil
	}
}

func TestConnectionsBehaveAsNetConnsShould(t *testing.T) {
	dir := socketDir(t)
	unix := mustParse(t, "unix:"+dir+"/plain")
	split := mustParse(t, "unix:"+dir+"/split")
	for name, c := range map[string]struct {
		target Target
		wrap   func(net.Conn) net.Conn
	}{
		"unix":  {unix, func(c net.Conn) net.Conn { return c }},
		"split": {split, splitWrites},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := c.target.Listen()
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if name == "split" {
				l = splitListener{l}
			}
			nettest.TestConn(t, pipeOver(t.Context(), l, func(ctx context.Context) (net.Conn, error) {
				conn, err := c.target.Dial(ctx)
				if err != nil {
					return nil, err
				}
				return c.wrap(conn), nil
			}))
		})
	}
}
