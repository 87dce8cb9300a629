package h2tap

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// warning is the GOAWAY by which a server says that it will close the connection.
func warning(debug string) []byte {
	return raw(http2.FrameGoAway, 0, 0, "\x7f\xff\xff\xff\x00\x00\x00\x00"+debug)
}

var (
	maxAge     = warning("max_age")
	lastWord   = raw(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x05\x00\x00\x00\x00max_age")
	goAwayPing = raw(http2.FramePing, 0, 0, "\x01\x06\x01\x08\x00\x03\x03\x09")
	otherPing  = raw(http2.FramePing, 0, 0, "\x02\x04\x10\x10\x09\x0e\x07\x07")
	pingAck    = raw(http2.FramePing, http2.FlagPingAck, 0, "\x01\x06\x01\x08\x00\x03\x03\x09")
	begun      = raw(http2.FrameHeaders, 0, 1, "\x88")
	continued  = raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, "\x88")
)

func TestWhatIsHeldAndWhatPasses(t *testing.T) {
	most, long := warning(string(make([]byte, maxDebug))), warning(string(make([]byte, maxDebug+1)))
	for _, tt := range []struct {
		name    string
		in, out []byte // out: as it is read when nobody releases
	}{
		{"a warning and its ping", slices.Concat(pair, maxAge, goAwayPing, pair), slices.Concat(pair, pair, maxAge, goAwayPing)},
		{"without a ping", slices.Concat(maxAge, pair), slices.Concat(pair, maxAge)},
		{"its ping comes late", slices.Concat(maxAge, pair, goAwayPing, pair), slices.Concat(pair, pair, maxAge, goAwayPing)},
		{"a second ping", slices.Concat(maxAge, goAwayPing, otherPing, pair), slices.Concat(otherPing, pair, maxAge, goAwayPing)},
		{"an answered ping", slices.Concat(maxAge, pingAck, goAwayPing), slices.Concat(pingAck, maxAge, goAwayPing)},
		{"the last word after it", slices.Concat(maxAge, goAwayPing, pair, lastWord, pair), slices.Concat(pair, maxAge, goAwayPing, lastWord, pair)},
		{"a second warning", slices.Concat(maxAge, goAwayPing, maxAge, goAwayPing, pair), slices.Concat(maxAge, goAwayPing, maxAge, goAwayPing, pair)},
		{"the last word alone", slices.Concat(lastWord, goAwayPing, pair), slices.Concat(lastWord, goAwayPing, pair)},
		{"a warning after the last word", slices.Concat(lastWord, maxAge, goAwayPing, pair), slices.Concat(lastWord, maxAge, goAwayPing, pair)},
		{"an error", slices.Concat(raw(7, 0, 0, "\x7f\xff\xff\xff\x00\x00\x00\x0btoo_many_pings"), pair), slices.Concat(raw(7, 0, 0, "\x7f\xff\xff\xff\x00\x00\x00\x0btoo_many_pings"), pair)},
		{"as much debug data as is kept", slices.Concat(most, goAwayPing, pair), slices.Concat(pair, most, goAwayPing)},
		{"more debug data than is kept", slices.Concat(long, goAwayPing, pair), slices.Concat(long, goAwayPing, pair)},
		{"a GOAWAY on a stream", slices.Concat(raw(7, 0, 1, "\x7f\xff\xff\xff\x00\x00\x00\x00"), pair), slices.Concat(raw(7, 0, 1, "\x7f\xff\xff\xff\x00\x00\x00\x00"), pair)},
		{"a GOAWAY that is too short", slices.Concat(raw(7, 0, 0, ""), maxAge, pair), slices.Concat(raw(7, 0, 0, ""), maxAge, pair)},
		{"the end within it", maxAge[:20], maxAge[:20]},
		{"the end within its header", slices.Concat(pair, maxAge[:5]), slices.Concat(pair, maxAge[:5])},
		{"the end within the ping", slices.Concat(maxAge, goAwayPing[:12]), slices.Concat(maxAge, goAwayPing[:12])},
	} {
		for _, size := range []int{4, 5, 9, 17, 30, 1 << 15} {
			rec := &recorder{hold: time.Hour}
			c := New(&pieces{left: splitEvery(tt.in, size), err: io.EOF}, rec)
			out, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			// What was begun before its type was known is not held.
			if bytes.Equal(out, tt.in) && size < 1<<15 {
				continue
			}
			if !bytes.Equal(out, tt.out) {
				t.Errorf("%s, read by %d: %q, want %q", tt.name, size, out, tt.out)
			}
		}
	}
}

// Four bytes tell a GOAWAY from other frames. Reads that split those let it pass, and no other split does.
func TestAWarningIsHeldWhereverReadsSplitIt(t *testing.T) {
	in := slices.Concat(pair, maxAge, goAwayPing, pair)
	moved := slices.Concat(pair, pair, maxAge, goAwayPing)
	for at := range in {
		want := moved
		if at > len(pair) && at < len(pair)+4 {
			want = in
		}
		rec := &recorder{hold: time.Hour}
		c := New(&pieces{left: [][]byte{in[:at], in[at:]}[min(1, 1-min(at, 1)):], err: io.EOF}, rec)
		if out, err := io.ReadAll(c); err != nil || !bytes.Equal(out, want) {
			t.Errorf("split at %d: %q, %v, want %q", at, out, err, want)
		}
	}
}

func TestTheObserverDecidesWhetherAWarningIsHeld(t *testing.T) {
	in := slices.Concat(maxAge, goAwayPing, pair)
	rec := &recorder{}
	c := New(&pieces{left: [][]byte{in}, err: io.EOF}, rec)
	rec.asked = func() {
		if got := rec.heard(); !slices.Equal(got, []string{`goaway 2147483647 NO_ERROR "max_age"`}) {
			t.Errorf("asked after %q", got)
		}
	}
	if out, err := io.ReadAll(c); err != nil || !bytes.Equal(out, in) {
		t.Errorf("not to be held: %q, %v", out, err)
	}
	rec = &recorder{hold: time.Hour}
	c = New(&pieces{left: [][]byte{in}, err: io.EOF}, rec)
	rec.asked = func() { c.Release() }
	if out, err := io.ReadAll(c); err != nil || !bytes.Equal(out, in) {
		t.Errorf("released before it was held: %q, %v", out, err)
	}
}

// wakers are the kinds of connection that a reader may wait on while a warning is held.
func wakers(t *testing.T, with func(t *testing.T, client, server net.Conn)) {
	t.Run("socket", func(t *testing.T) {
		client, server := unixPair(t)
		with(t, client, server)
	})
	t.Run("pipe", func(t *testing.T) {
		client, server := net.Pipe()
		with(t, client, server)
	})
	t.Run("TLS", func(t *testing.T) {
		serverTLS, clientTLS := tlsConfigs(t)
		near, far := unixPair(t)
		client, server := tls.Client(near, clientTLS), tls.Server(far, serverTLS)
		done := make(chan error, 1)
		go func() { done <- server.Handshake() }()
		if err := errors.Join(client.Handshake(), <-done); err != nil {
			t.Fatal(err)
		}
		with(t, client, server)
	})
}

// read is one read, by Read or by ReadOnReady, in the background.
func readSoon(c *Conn, ready bool) chan []byte {
	got := make(chan []byte, 1)
	go func() {
		if ready {
			b, n, err := c.ReadOnReady(4096, &countingPool{})
			if err != nil {
				got <- []byte(err.Error())
				return
			}
			got <- (*b)[:n]
			return
		}
		b := make([]byte, 4096)
		n, err := c.Read(b)
		if err != nil {
			b, n = []byte(err.Error()), len(err.Error())
		}
		got <- b[:n]
	}()
	return got
}

func receive(t *testing.T, from chan []byte, want []byte) {
	t.Helper()
	select {
	case got := <-from:
		if !bytes.Equal(got, want) {
			t.Fatalf("read %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the reader was not woken")
	}
}

func TestReleaseWakesAReaderThatWaits(t *testing.T) {
	for _, ready := range []bool{false, true} {
		wakers(t, func(t *testing.T, client, server net.Conn) {
			defer server.Close()
			held := make(chan struct{})
			rec := &recorder{hold: time.Hour, asked: func() { close(held) }}
			c := New(client, rec)
			defer c.Close()
			c.SetReadDeadline(time.Now().Add(time.Hour))
			send := func(p []byte) {
				go server.Write(p)
			}

			got := readSoon(c, ready)
			send(slices.Concat(maxAge, goAwayPing))
			<-held
			select {
			case p := <-got:
				t.Fatalf("a read returned %q while it was held", p)
			case <-time.After(20 * time.Millisecond): // time to get into the wait; being early is tested too
			}
			c.Release()
			c.Release()
			receive(t, got, slices.Concat(maxAge, goAwayPing))

			// All is as before.
			got = readSoon(c, ready)
			send(pair)
			receive(t, got, pair)
			if rec.closedWith() != nil {
				t.Errorf("told of the end: %v", rec.closedWith())
			}
			c.SetReadDeadline(longAgo)
			if _, err := c.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a deadline of the reader's: %v", err)
			}
		})
	}
}

// Two halves of a frame, the release between them: what was held comes after the frame. So it does for a header block.
func TestReleaseWaitsForTheEndOfAFrame(t *testing.T) {
	for name, frame := range map[string][2][]byte{
		"a frame":                {pair[:40], pair[40:]},
		"a header block":         {begun, continued},
		"a block and its header": {append(slices.Clone(begun), continued[:4]...), continued[4:]},
	} {
		client, server := unixPair(t)
		c := New(client, &recorder{hold: time.Hour})
		server.Write(slices.Concat(maxAge, goAwayPing, frame[0]))
		first := <-readSoon(c, false)
		got := readSoon(c, false)
		c.Release()
		select {
		case p := <-got:
			t.Errorf("%s: %q in the middle", name, p)
		case <-time.After(20 * time.Millisecond):
		}
		server.Write(frame[1])
		server.Close()
		rest := <-got
		for {
			p := <-readSoon(c, false)
			if string(p) == io.EOF.Error() {
				break
			}
			rest = append(rest, p...)
		}
		if all := append(first, rest...); !bytes.Equal(all, slices.Concat(frame[0], frame[1], maxAge, goAwayPing)) {
			t.Errorf("%s: %q", name, all)
		}
	}
}

func TestAWarningIsHeldNoLongerThanTheObserverSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		c := New(client, &recorder{hold: 150 * time.Millisecond})
		defer c.Close()
		go server.Write(maxAge)
		start := time.Now()
		if got := <-readSoon(c, true); !bytes.Equal(got, maxAge) || time.Since(start) != 150*time.Millisecond {
			t.Errorf("%q after %v", got, time.Since(start))
		}
	})
}

// A reader's own deadline is the reader's business, held frames or not.
func TestAReadersDeadlineOutlastsAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		c := New(client, &recorder{hold: time.Minute})
		defer c.Close()
		go server.Write(maxAge)
		c.SetDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("within the hold: %v", err)
		}
		c.SetReadDeadline(time.Now().Add(time.Hour))
		if got := <-readSoon(c, false); !bytes.Equal(got, maxAge) {
			t.Fatalf("after the hold: %q", got)
		}
		start := time.Now()
		if _, err := c.Read(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) < 59*time.Minute {
			t.Fatalf("later: %v after %v", err, time.Since(start))
		}
	})
}

func TestAHeldWarningDiesWithItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		rec := &recorder{hold: time.Minute}
		c := New(client, rec)
		go func() {
			server.Write(slices.Concat(maxAge, goAwayPing))
			server.Close()
		}()
		start := time.Now()
		out, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(out, slices.Concat(maxAge, goAwayPing)) || time.Since(start) != 0 {
			t.Errorf("%q, %v after %v", out, err, time.Since(start))
		}
		c.Close()
		c.Release()

		// Closed here, with a reader waiting.
		client, server = net.Pipe()
		c = New(client, rec)
		go server.Write(maxAge)
		got := readSoon(c, false)
		synctest.Wait()
		c.Close()
		<-got
		server.Close()
	})
}

// A server that warns without end, and asks without end, has one warning and one PING held.
func TestEndlessWarningsHoldOne(t *testing.T) {
	for name, flood := range map[string][]byte{"warnings": maxAge, "pings": otherPing} {
		hundred := bytes.Repeat(flood, 100)
		c := New(&endless{data: hundred}, &recorder{hold: time.Hour})
		c.Read(make([]byte, 10))
		next := &endless{data: hundred}
		c.conn = next
		c.holder = &holder{begin: func() bool { return true }}
		c.holder.take(maxAge)
		buf := make([]byte, 32<<10)
		for range 1000 {
			if n, err := c.Read(buf); n == 0 || err != nil {
				t.Fatal(n, err)
			}
			if h := c.holder; h != nil && len(h.held)+len(h.frame) > maxHeld+headerLen+pingLen {
				t.Fatalf("%s: %d bytes held", name, len(h.held)+len(h.frame))
			} else if h != nil && cap(h.out) > 64<<10 {
				t.Fatalf("%s: %d bytes ahead", name, cap(h.out))
			}
		}
	}
}
