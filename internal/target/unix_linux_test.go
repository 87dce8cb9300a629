package target

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestAbstractSocketsAreDialledAndListenedOn(t *testing.T) {
	target := mustParse(t, fmt.Sprintf("unix-abstract:enclavepool-test-%d", os.Getpid()))
	_, err := target.Dial(t.Context())
	if de, ok := errors.AsType[*DialError](err); !ok || !errors.Is(err, syscall.ECONNREFUSED) || de.Hint == "" || !Retryable(err) {
		t.Errorf("without a server: %v", err)
	}
	l, err := target.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	roundTrip(t, l, target)
}

func TestAFullListenQueueIsRetryableAndNotATimeout(t *testing.T) {
	target := mustParse(t, "unix:"+socketDir(t)+"/s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: target.addr}), syscall.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range 10 { // nobody accepts, so the queue of one fills
		conn, err := target.Dial(t.Context())
		if err == nil {
			conns = append(conns, conn)
			continue
		}
		de, ok := errors.AsType[*DialError](err)
		if !ok || !errors.Is(err, syscall.EAGAIN) || de.Hint == "" || de.Timeout() || !Retryable(err) {
			t.Errorf("%v (timeout %v, retryable %v)", err, de.Timeout(), Retryable(err))
		}
		// Somebody does listen, so the socket is not stale.
		if _, err := target.Listen(); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listening on a socket whose server is busy: %v", err)
		}
		return
	}
	t.Error("the queue never filled")
}

func TestTheBytesBehindOKCanBeReadThroughTheDescriptor(t *testing.T) {
	target := hypervisor(t, func(c net.Conn) {
		io.WriteString(c, "OK 1\n"+settingsFrame)
		untilClosed(c)
	})
	conn, err := target.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sc, ok := conn.(syscall.Conn)
	if !ok {
		t.Fatal("an hvsock connection does not offer SyscallConn")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	var n int
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		n, rerr = syscall.Read(int(fd), buf)
		return !errors.Is(rerr, syscall.EAGAIN)
	})
	if err != nil || rerr != nil || string(buf[:n]) != settingsFrame {
		t.Errorf("raw read: %q, %v, %v", buf[:n], rerr, err)
	}
}
