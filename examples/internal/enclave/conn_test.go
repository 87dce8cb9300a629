package enclave

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
)

// pair is a conn whose peer is the returned end of a pipe.
func pair(t *testing.T) (*conn, net.Conn) {
	t.Helper()
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close(); s.Close() })
	return newConn(near, s), far
}

func TestFrameForTheClientWaitsForTheEndOfAHalfWrittenOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := pair(t)
		var got bytes.Buffer
		go io.Copy(&got, far)
		data := frame(func(f *http2.Framer) error { return f.WriteData(1, false, []byte("a payload")) })
		rst := rstFrame(1, http2.ErrCodeInternal)

		c.Write(data[:11])
		c.send(rst)
		synctest.Wait()
		if !bytes.Equal(got.Bytes(), data[:11]) {
			t.Fatalf("sent into the middle of a frame: % x", got.Bytes())
		}
		c.Write(data[11:])
		c.send(rst)
		synctest.Wait()
		if want := bytes.Join([][]byte{data, rst, rst}, nil); !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("got  % x\nwant % x", got.Bytes(), want)
		}
		c.Close()
	})
}

func TestFrameForTheClientQueuedDuringAWriteGoesOutBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := pair(t)
		data := frame(func(f *http2.Framer) error { return f.WriteData(1, false, []byte("a payload")) })
		rst := rstFrame(1, http2.ErrCodeInternal)
		go c.Write(data) // blocks: nobody reads yet
		synctest.Wait()
		c.send(rst) // must not block
		got := make([]byte, len(data)+len(rst))
		if _, err := io.ReadFull(far, got); err != nil {
			t.Fatal(err)
		}
		if want := append(bytes.Clone(data), rst...); !bytes.Equal(got, want) {
			t.Fatalf("got  % x\nwant % x", got, want)
		}
		c.Close()
	})
}

func TestReadEndsAfterEachHeaderBlockAndNamesItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := pair(t)
		headers := func(stream uint32) []byte {
			return frame(func(f *http2.Framer) error {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: make([]byte, 8), EndHeaders: true})
			})
		}
		data := frame(func(f *http2.Framer) error { return f.WriteData(1, true, []byte("x")) })
		go far.Write(bytes.Join([][]byte{[]byte(http2.ClientPreface), headers(1), data, headers(3)}, nil))
		p := make([]byte, 4096)
		for _, want := range []uint32{1, 3} {
			n, err := c.Read(p)
			if err != nil || c.opened != want {
				t.Fatalf("read %d bytes (%v), stream %d, want %d", n, err, c.opened, want)
			}
		}
		c.Close()
	})
}

func TestFrameForTheServerWakesItsReadButSplitsNoFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := pair(t)
		got := make(chan []byte, 10)
		go func() {
			defer close(got)
			for {
				p := make([]byte, 4096)
				n, err := c.Read(p)
				if err != nil {
					return
				}
				got <- p[:n]
			}
		}()
		far.Write([]byte(http2.ClientPreface))
		<-got
		synctest.Wait()
		rst := rstFrame(1, http2.ErrCodeCancel)
		c.receive(rst)
		if b := <-got; !bytes.Equal(b, rst) {
			t.Fatalf("got % x, want the queued frame", b)
		}

		data := frame(func(f *http2.Framer) error { return f.WriteData(1, false, []byte("a payload")) })
		far.Write(data[:3])
		<-got
		synctest.Wait()
		c.receive(rst)
		synctest.Wait()
		if len(got) != 0 {
			t.Fatalf("% x came in the middle of a frame", <-got)
		}
		far.Write(data[3:])
		if b := <-got; !bytes.Equal(b, data[3:]) {
			t.Fatalf("got % x, want the rest of the frame", b)
		}
		if b := <-got; !bytes.Equal(b, rst) {
			t.Fatalf("got % x, want the queued frame", b)
		}
		c.Close()
		for range got {
		}
	})
}
