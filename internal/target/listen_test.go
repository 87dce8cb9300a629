package target

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestListenReplacesAStaleUnixSocket(t *testing.T) {
	target := mustParse(t, "unix:"+socketDir(t)+"/s")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: target.addr})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false) // as a killed process leaves it
	old.Close()

	l, err := target.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	roundTrip(t, l, target)
}

func TestListenLeavesASocketAloneThatSomebodyAnswersOn(t *testing.T) {
	target := mustParse(t, "unix:"+socketDir(t)+"/s")
	first, err := target.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = target.Listen()
	de, ok := errors.AsType[*DialError](err)
	if !ok || de.Op != opListen || !errors.Is(err, syscall.EADDRINUSE) || de.Hint == "" {
		t.Fatalf("%v", err)
	}
	probe, err := first.Accept() // the question whether anybody answers
	if err != nil {
		t.Fatal(err)
	}
	probe.Close()
	roundTrip(t, first, target)
}

func TestListenNeverRemovesAFileThatIsNoSocket(t *testing.T) {
	path := socketDir(t) + "/precious"
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mustParse(t, "unix:"+path).Listen(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "data" {
		t.Errorf("the file: %q, %v", data, err)
	}
}

func TestAnHvsockTargetCannotBeListenedOn(t *testing.T) {
	_, err := mustParse(t, "hvsock:///run/vm.vsock:5000").Listen()
	if de, ok := errors.AsType[*DialError](err); !ok || !errors.Is(err, errNotListenable) || de.Hint == "" {
		t.Errorf("%v", err)
	}
}

func TestListenOnVsockTakesAnyCIDExceptForTheLocalOne(t *testing.T) {
	real := listenVsock
	defer func() { listenVsock = real }()
	for s, want := range map[string]uint32{"vsock:16:5000": cidAny, "vsock:3:5000": cidAny, "vsock:1:5000": cidLocal} {
		listenVsock = func(cid, port uint32) (net.Listener, error) {
			if cid != want || port != 5000 {
				t.Errorf("%s listens on CID %d, port %d", s, cid, port)
			}
			return nil, &net.OpError{Op: "listen", Net: "vsock", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
		}
		_, err := mustParse(t, s).Listen()
		de, ok := errors.AsType[*DialError](err)
		if !ok || !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(de.Hint, "5000") {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// oneConn is a listener that accepts one connection.
type oneConn struct {
	net.Listener
	conn net.Conn
}

func (l oneConn) Accept() (net.Conn, error) { return l.conn, nil }

func TestConnectionsAcceptedOnVsockSplitWrites(t *testing.T) {
	real := listenVsock
	defer func() { listenVsock = real }()
	rec := &recorder{}
	listenVsock = func(uint32, uint32) (net.Listener, error) { return oneConn{conn: rec}, nil }
	l, err := mustParse(t, "vsock:16:5000").Listen()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(pattern(3 * MaxVsockWrite)); err != nil || len(rec.sizes) != 3 {
		t.Errorf("%v, writes of %v bytes", err, rec.sizes)
	}
}
