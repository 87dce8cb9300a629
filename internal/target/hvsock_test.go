package target

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// An HTTP/2 server speaks first: an empty SETTINGS frame.
const settingsFrame = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// hypervisor serves handle behind CONNECT 5000 as Firecracker would and returns the target.
func hypervisor(t *testing.T, handle func(net.Conn)) Target {
	t.Helper()
	path := serve(t, func(c net.Conn) {
		line, err := bufio.NewReaderSize(c, 16).ReadString('\n')
		if err != nil {
			return
		}
		if line != "CONNECT 5000\n" {
			t.Errorf("the client asked %q", line)
		}
		handle(c)
	})
	return mustParse(t, "hvsock://"+path+":5000")
}

// untilClosed reads until the other side is gone.
func untilClosed(c net.Conn) { io.Copy(io.Discard, c) }

func TestHvsockLeavesTheBytesBehindOKToTheCaller(t *testing.T) {
	target := hypervisor(t, func(c net.Conn) {
		io.WriteString(c, "OK 1073741824\n"+settingsFrame)
		io.Copy(c, c)
	})
	conn, err := target.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(splitRawConn); !ok {
		t.Errorf("the connection is a %T: its writes are not split", conn)
	}
	got := make([]byte, len(settingsFrame))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != settingsFrame {
		t.Fatalf("read %q, %v; want the SETTINGS frame %q", got, err, settingsFrame)
	}
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, got[:4]); err != nil || string(got[:4]) != "ping" {
		t.Fatalf("echo: %q, %v", got[:4], err)
	}
}

func TestHvsockConnectionOutlivesTheContextItWasDialledWith(t *testing.T) {
	target := hypervisor(t, func(c net.Conn) {
		io.WriteString(c, "OK 1\n")
		io.Copy(c, c)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	conn, err := target.Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	b := []byte("x")
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Fatal(err)
	}
}

func TestHvsockRefusesAnAnswerThatIsNotOK(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 400 Bad Request\r\n", "OK\n", "OK \n", "OK 1\r\n", "ok 1\n", "OK 4294967296\n", "\n",
		settingsFrame + strings.Repeat("\x00", maxOKLine),
	} {
		target := hypervisor(t, func(c net.Conn) {
			io.WriteString(c, answer)
			untilClosed(c)
		})
		conn, err := target.Dial(t.Context())
		if err == nil {
			conn.Close()
		}
		de, ok := errors.AsType[*DialError](err)
		if !ok || !errors.Is(err, ErrNotHybridVsock) || de.Op != opHandshake || de.Hint == "" || Retryable(err) {
			t.Errorf("after %q: %v (retryable %v)", answer, err, Retryable(err))
		}
	}
}

func TestHvsockStopsReadingAnEndlessLine(t *testing.T) {
	endless := &countingReader{}
	_, err := readOKLine(endless)
	if !errors.Is(err, ErrNotHybridVsock) || endless.n > 64 {
		t.Errorf("%v after %d bytes; want ErrNotHybridVsock after at most 64", err, endless.n)
	}

	closed := make(chan error, 1)
	target := hypervisor(t, func(c net.Conn) {
		for {
			if _, err := c.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
				closed <- err
				return
			}
		}
	})
	if _, err := target.Dial(t.Context()); !errors.Is(err, ErrNotHybridVsock) {
		t.Error(err)
	}
	<-closed // Dial closed its end, or the server would write for ever
}

// countingReader yields the letter x for ever.
type countingReader struct{ n int }

func (r *countingReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	r.n += len(p)
	return len(p), nil
}

func TestHvsockClosedBeforeOKMeansThatNothingListensInTheGuest(t *testing.T) {
	for _, answer := range []string{"", "O", "OK 10737"} {
		target := hypervisor(t, func(c net.Conn) { io.WriteString(c, answer) })
		_, err := target.Dial(t.Context())
		de, ok := errors.AsType[*DialError](err)
		if !ok || !errors.Is(err, errNoAnswer) || !Retryable(err) || de.Timeout() || !strings.Contains(de.Hint, "5000") {
			t.Errorf("closed after %q: %v (retryable %v)", answer, err, Retryable(err))
		}
	}
}

func TestHvsockHandshakeEndsWithTheContext(t *testing.T) {
	asked, gone := make(chan struct{}), make(chan struct{})
	target := hypervisor(t, func(c net.Conn) {
		close(asked)
		untilClosed(c)
		close(gone)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := target.Dial(ctx)
	if de, ok := errors.AsType[*DialError](err); !ok || !errors.Is(err, context.Canceled) || de.Hint != "" || Retryable(err) {
		t.Errorf("cancelled: %v (retryable %v)", err, Retryable(err))
	}
	<-gone // the descriptor is closed

	target = hypervisor(t, untilClosed)
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = target.Dial(ctx)
	de, ok := errors.AsType[*DialError](err)
	if !ok || !errors.Is(err, context.DeadlineExceeded) || !de.Timeout() || de.Hint == "" || !Retryable(err) {
		t.Errorf("deadline: %v (retryable %v)", err, Retryable(err))
	}
}

func TestHvsockHandshakeTakesExactlyTheTimeOfItsContextWhenNobodyAnswers(t *testing.T) {
	for name, stuck := range map[string]func(net.Conn){
		"never reads":   func(net.Conn) {},
		"never answers": func(c net.Conn) { go untilClosed(c) },
		"half an answer": func(c net.Conn) {
			go func() {
				bufio.NewReaderSize(c, 16).ReadString('\n')
				io.WriteString(c, "OK 10")
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer server.Close()
				defer client.Close()
				stuck(server)
				ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
				defer cancel()
				start := time.Now()
				err := connectGuest(ctx, client, 5000)
				if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 150*time.Millisecond {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

func TestHvsockWithoutAHypervisorSaysWhatToCheck(t *testing.T) {
	target := mustParse(t, "hvsock://"+filepath.Join(socketDir(t), "absent")+":5000")
	_, err := target.Dial(t.Context())
	de, ok := errors.AsType[*DialError](err)
	if !ok || !errors.Is(err, syscall.ENOENT) || de.Op != opDial || de.Hint == "" || !Retryable(err) {
		t.Errorf("%v (retryable %v)", err, Retryable(err))
	}
}

func FuzzHvsockHandshake(f *testing.F) {
	for _, s := range []string{
		"OK 1073741824\n" + settingsFrame, "OK 1\n", "OK 1", "OK\n", "", "\n", "OK 4294967295\n", "OK 4294967296\n",
		"OK 01\n", "OK -1\n", "HTTP/1.1 400 Bad Request\r\n\r\n", strings.Repeat("x", 100), "OK 1\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		in := bytes.NewReader(answer)
		var out bytes.Buffer
		err := exchangeConnect(struct {
			io.Reader
			io.Writer
		}{in, &out}, 5000)
		if out.String() != "CONNECT 5000\n" {
			t.Fatalf("wrote %q", out.String())
		}
		taken := answer[:len(answer)-in.Len()]
		if len(taken) > maxOKLine {
			t.Fatalf("took %d bytes of %q", len(taken), answer)
		}
		if i := bytes.IndexByte(taken, '\n'); i >= 0 && i != len(taken)-1 {
			t.Fatalf("read past the newline: took %q of %q", taken, answer)
		}
		var port uint32
		n, _ := fmt.Sscanf(string(taken), "OK %d\n", &port)
		switch {
		case err == nil:
			if n != 1 || string(taken) != fmt.Sprintf("OK %d\n", port) {
				t.Fatalf("accepted %q", taken)
			}
		case errors.Is(err, errNoAnswer):
			if in.Len() != 0 || bytes.ContainsRune(taken, '\n') {
				t.Fatalf("%v after %q of %q", err, taken, answer)
			}
		case !errors.Is(err, ErrNotHybridVsock):
			t.Fatalf("unexpected %v for %q", err, answer)
		case n == 1 && string(taken) == fmt.Sprintf("OK %d\n", port):
			t.Fatalf("refused %q", taken)
		}
	})
}
