package h2tap

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

func TestClosedIsToldOnceWithTheFirstReadError(t *testing.T) {
	for _, want := range []error{io.EOF, io.ErrUnexpectedEOF, &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}} {
		rec := &recorder{}
		c := New(&pieces{err: want}, rec)
		for range 3 {
			if _, err := c.Read(make([]byte, 1)); err != want {
				t.Fatalf("Read: %v, want %v unchanged", err, want)
			}
		}
		if got := rec.closedWith(); !slices.Equal(got, []error{want}) {
			t.Errorf("Closed %v, want %v once", got, want)
		}
	}
}

func TestClosedIsToldOnceWhenCloseComesFirst(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	rec := &recorder{}
	c := New(client, rec)
	read := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		read <- err
	}()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err == nil {
		t.Error("Read of a closed connection returned no error")
	}
	c.Close()
	if got := rec.closedWith(); len(got) != 1 || !errors.Is(got[0], net.ErrClosed) {
		t.Errorf("Closed %v, want net.ErrClosed once", got)
	}
}

func TestFramesThatCameWithAnErrorAreToldBeforeIt(t *testing.T) {
	rec := &recorder{}
	c := New(readFunc(func(p []byte) (int, error) {
		return copy(p, raw(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x01\x00\x00\x00\x00bye")), io.EOF
	}), rec)
	if n, err := c.Read(make([]byte, 100)); n != 20 || err != io.EOF {
		t.Fatal(n, err)
	}
	if got := rec.heard(); !slices.Equal(got, []string{`goaway 1 NO_ERROR "bye"`}) || len(rec.closedWith()) != 1 {
		t.Errorf("heard %q, closed %v", got, rec.closedWith())
	}
}

// readFunc is a net.Conn with a Read only.
type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error)     { return f(p) }
func (readFunc) Write([]byte) (int, error)        { panic("not reached") }
func (readFunc) Close() error                     { panic("not reached") }
func (readFunc) LocalAddr() net.Addr              { panic("not reached") }
func (readFunc) RemoteAddr() net.Addr             { panic("not reached") }
func (readFunc) SetDeadline(time.Time) error      { panic("not reached") }
func (readFunc) SetReadDeadline(time.Time) error  { panic("not reached") }
func (readFunc) SetWriteDeadline(time.Time) error { panic("not reached") }

func TestSinceReadFollowsTheClockFromTheLastByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		rec := &recorder{}
		c := New(client, rec)
		defer c.Close()

		since := func(want time.Duration) {
			t.Helper()
			if got := c.SinceRead(); got != want {
				t.Errorf("SinceRead %v, want %v", got, want)
			}
		}
		since(0)
		time.Sleep(3 * time.Second)
		since(3 * time.Second) // nothing read: since New

		go server.Write([]byte{0})
		if _, err := c.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		since(0) // part of a header is a sign of life too
		time.Sleep(24 * time.Hour)
		since(24 * time.Hour)

		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		since(24*time.Hour + time.Second)
		if got := rec.closedWith(); len(got) != 0 {
			t.Errorf("a read deadline was told as the end of the connection: %v", got)
		}
	})
}

func TestWritesAndDeadlinesPassThrough(t *testing.T) {
	client, server := unixPair(t)
	c := New(client, &recorder{})
	settings := raw(http2.FrameSettings, 0, 0, limitOf(5))
	if n, err := c.Write(settings); n != len(settings) || err != nil {
		t.Fatal(n, err)
	}
	got := make([]byte, len(settings))
	if _, err := io.ReadFull(server, got); err != nil || !slices.Equal(got, settings) {
		t.Fatalf("%q, %v", got, err)
	}
	if c.BytesRead() != 0 || c.FramesRead() != 0 {
		t.Error("a write was counted as a read")
	}
	if c.LocalAddr() != client.LocalAddr() || c.RemoteAddr() != client.RemoteAddr() {
		t.Error("addresses differ")
	}
	past := time.Unix(1, 0)
	for name, set := range map[string]func(time.Time) error{"SetDeadline": c.SetDeadline, "SetReadDeadline": c.SetReadDeadline} {
		if err := set(past); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: Read: %v", name, err)
		}
		c.SetDeadline(time.Time{})
	}
	c.SetWriteDeadline(past)
	if _, err := c.Write(settings); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("SetWriteDeadline: Write: %v", err)
	}
}

func TestNothingButReadLetsBytesPassUnseen(t *testing.T) {
	client, _ := unixPair(t)
	var c any = New(client, &recorder{})
	if _, ok := c.(syscall.Conn); ok {
		t.Error("SyscallConn: a caller could read the socket behind the tap's back")
	}
	if _, ok := c.(interface{ NetConn() net.Conn }); ok {
		t.Error("NetConn: as SyscallConn")
	}
	if _, ok := c.(io.WriterTo); ok {
		t.Error("WriteTo: io.Copy would not call Read")
	}
	if _, ok := c.(RawReader); ok {
		t.Error("RawRead: a tap over a tap would read past it")
	}
}
