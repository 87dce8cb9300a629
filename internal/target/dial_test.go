package target

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// withVsock replaces the system's vsock dialer for one test.
func withVsock(t *testing.T, dial func(ctx context.Context, cid, port uint32) (net.Conn, error)) {
	t.Helper()
	real := dialVsock
	dialVsock = dial
	t.Cleanup(func() { dialVsock = real })
}

// vsockErrno is an errno as the vsock package wraps it.
func vsockErrno(call string, errno syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: "vsock", Err: os.NewSyscallError(call, errno)}
}

func TestDialNamesTheTargetAndTheErrno(t *testing.T) {
	for _, c := range []struct {
		call      string
		errno     syscall.Errno
		hint      string // a word that only the right hint contains
		retryable bool
		timeout   bool
	}{
		{"socket", syscall.EPERM, "seccomp", false, false},
		{"socket", syscall.EACCES, "seccomp", false, false},
		{"connect", syscall.EPERM, "security policy", false, false},
		{"socket", syscall.EAFNOSUPPORT, "no vsock support", false, false},
		{"connect", syscall.ENODEV, "CID 16", true, false},
		{"connect", syscall.ENETUNREACH, "CID 16", true, false},
		{"connect", syscall.ECONNRESET, "port 5000", true, false},
		{"connect", syscall.ECONNREFUSED, "port 5000", true, false},
		{"connect", syscall.ETIMEDOUT, "booting", true, true},
		{"socket", syscall.EMFILE, "", true, false},
	} {
		withVsock(t, func(_ context.Context, cid, port uint32) (net.Conn, error) {
			if cid != 16 || port != 5000 {
				t.Errorf("dialled CID %d, port %d", cid, port)
			}
			return nil, vsockErrno(c.call, c.errno)
		})
		conn, err := mustParse(t, "vsock:16:5000").Dial(t.Context())
		de, ok := errors.AsType[*DialError](err)
		if conn != nil || !ok || !errors.Is(err, c.errno) {
			t.Errorf("%v: %v, %v", c.errno, conn, err)
			continue
		}
		if de.Target != "vsock:16:5000" || de.Op != "dial" || !strings.Contains(de.Hint, c.hint) || (c.hint == "") != (de.Hint == "") {
			t.Errorf("%v: target %q, op %q, hint %q", c.errno, de.Target, de.Op, de.Hint)
		}
		for _, part := range []string{de.Target, c.call, c.errno.Error(), de.Hint} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%v: the message %q lacks %q", c.errno, err, part)
			}
		}
		if Retryable(err) != c.retryable || de.Temporary() != c.retryable || de.Timeout() != c.timeout {
			t.Errorf("%v: retryable %v, temporary %v, timeout %v", c.errno, Retryable(err), de.Temporary(), de.Timeout())
		}
	}
}

func TestRetryableKnowsWhatNoAttemptCanMend(t *testing.T) {
	for _, err := range []error{nil, context.Canceled, ErrVsockUnsupported, errAbstractUnsupported, ErrNotHybridVsock, errZeroTarget} {
		if Retryable(err) {
			t.Errorf("%v counts as retryable", err)
		}
	}
	for _, err := range []error{os.NewSyscallError("connect", syscall.EACCES), context.DeadlineExceeded, io.EOF, errors.New("unknown"), syscall.ENOENT, errNoAnswer} {
		if !Retryable(err) {
			t.Errorf("%v counts as hopeless", err)
		}
	}
}

// closeWatch tells when it is closed.
type closeWatch struct {
	net.Conn
	closed chan struct{}
}

func (c closeWatch) Close() error { close(c.closed); return nil }

func TestAConnectionThatArrivesAfterTheCallerHasGoneIsClosed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	late := closeWatch{closed: make(chan struct{})}
	withVsock(t, func(context.Context, uint32, uint32) (net.Conn, error) {
		cancel()
		return late, nil
	})
	conn, err := mustParse(t, "vsock:16:5000").Dial(ctx)
	if conn != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", conn, err)
	}
	select {
	case <-late.closed:
	default:
		t.Error("the connection is still open")
	}
}

func TestACancelledContextDialsNothing(t *testing.T) {
	withVsock(t, func(context.Context, uint32, uint32) (net.Conn, error) {
		t.Error("dialled")
		return nil, errors.New("dialled")
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range []string{"vsock:16:5000", "unix:/absent", "hvsock:///absent:5000", "127.0.0.1:1"} {
		_, err := mustParse(t, s).Dial(ctx)
		if de, ok := errors.AsType[*DialError](err); !ok || de.Target != s || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestDialPassesTheContextToTheKernelsConnect(t *testing.T) {
	withVsock(t, func(ctx context.Context, _, _ uint32) (net.Conn, error) {
		<-ctx.Done() // a guest that boots: connect hangs
		return nil, &net.OpError{Op: "dial", Net: "vsock", Err: os.NewSyscallError("connect", ctx.Err())}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := mustParse(t, "vsock:16:5000").Dial(ctx)
	de, ok := errors.AsType[*DialError](err)
	if !ok || !errors.Is(err, context.DeadlineExceeded) || !de.Timeout() || !Retryable(err) || de.Hint == "" {
		t.Errorf("%v", err)
	}
}

func TestVsockConnectionsSplitWrites(t *testing.T) {
	rec := &recorder{}
	withVsock(t, func(context.Context, uint32, uint32) (net.Conn, error) { return rec, nil })
	conn, err := mustParse(t, "vsock:16:5000").Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(pattern(3 * MaxVsockWrite)); err != nil || len(rec.sizes) != 3 {
		t.Errorf("%v, writes of %v bytes", err, rec.sizes)
	}
}

func TestDialReachesEveryKindOfSocketListenOpens(t *testing.T) {
	dir := socketDir(t)
	t.Chdir(dir)
	for _, s := range []string{"unix:" + dir + "/a", "unix://" + dir + "/b", "unix:relative", "127.0.0.1:0", "[::1]:0"} {
		target, err := Parse(s)
		if tcp := strings.HasSuffix(s, ":0"); tcp {
			target = Target{kind: kindTCP, addr: strings.Trim(strings.TrimSuffix(s, ":0"), "[]")}
		} else if err != nil {
			t.Fatal(err)
		}
		l, err := target.Listen()
		if err != nil {
			if strings.HasPrefix(s, "[") && errors.Is(err, syscall.EADDRNOTAVAIL) {
				continue // a container without IPv6
			}
			t.Fatal(err)
		}
		if target.kind == kindTCP {
			target = mustParse(t, l.Addr().String())
		}
		roundTrip(t, l, target)
		l.Close()
	}
}

// roundTrip sends one byte from a new connection to l's next connection and back.
func roundTrip(t *testing.T, l net.Listener, target Target) {
	t.Helper()
	conn, server, stop, err := pipeOver(t.Context(), l, target.Dial)()
	if err != nil {
		t.Fatalf("%v: %v", target, err)
	}
	defer stop()
	b := []byte{42}
	if _, err := conn.Write(b); err != nil {
		t.Fatalf("%v: %v", target, err)
	}
	if _, err := io.ReadFull(server, b); err != nil || b[0] != 42 {
		t.Fatalf("%v: %v, %v", target, b, err)
	}
}

func TestDialToAbsentUnixAndTCPServersIsRetryableAndExplained(t *testing.T) {
	dir := socketDir(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/stale"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp.Close()
	for s, errno := range map[string]syscall.Errno{
		"unix:" + filepath.Join(dir, "absent"): syscall.ENOENT,
		"unix:" + filepath.Join(dir, "stale"):  syscall.ECONNREFUSED,
		tcp.Addr().String():                    syscall.ECONNREFUSED,
	} {
		_, err := mustParse(t, s).Dial(t.Context())
		de, ok := errors.AsType[*DialError](err)
		if !ok || !errors.Is(err, errno) || de.Hint == "" || !Retryable(err) || de.Timeout() {
			t.Errorf("%s: %v (retryable %v)", s, err, Retryable(err))
		}
	}
}
