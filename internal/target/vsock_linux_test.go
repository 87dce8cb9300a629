package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/vsock"
	"golang.org/x/net/nettest"
)

// absentCID is that of no guest on any machine these tests run on.
const absentCID = 12345

// familyProblem says why AF_VSOCK sockets cannot be opened here; empty: they can.
var familyProblem = sync.OnceValue(func() string {
	fd, err := syscall.Socket(40 /* AF_VSOCK, which package syscall lacks */, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Sprintf("socket(AF_VSOCK): %v", err)
	}
	syscall.Close(fd)
	return ""
})

// loopbackProblem says why CID 1 does not reach this machine; empty: it does.
var loopbackProblem = sync.OnceValue(func() string {
	if problem := familyProblem(); problem != "" {
		return problem
	}
	l, err := Target{kind: kindVsock, cid: cidLocal}.Listen()
	if err != nil {
		return err.Error()
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := portOf(l).Dial(ctx)
	if err != nil {
		return err.Error()
	}
	conn.Close()
	return ""
})

// need skips a test that this machine cannot run, or fails it where real vsock is required.
func need(t *testing.T, problem string) {
	t.Helper()
	if problem == "" {
		return
	}
	if os.Getenv("ENCLAVEPOOL_VSOCK") == "required" {
		t.Fatalf("real vsock is required here and does not work: %s", problem)
	}
	t.Skipf("needs real vsock: %s", problem)
}

// portOf is the target that reaches l on this machine.
func portOf(l net.Listener) Target {
	return Target{kind: kindVsock, cid: cidLocal, port: l.Addr().(*vsock.Addr).Port}
}

// listenLocal listens on a free port of the loopback.
func listenLocal(t *testing.T) (net.Listener, Target) {
	t.Helper()
	need(t, loopbackProblem())
	l, err := Target{kind: kindVsock, cid: cidLocal}.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, portOf(l)
}

func TestVsockConnectionsBehaveAsNetConnsShould(t *testing.T) {
	l, target := listenLocal(t)
	nettest.TestConn(t, pipeOver(t.Context(), l, target.Dial))
}

func TestVsockListenerForAnyCIDIsReachedThroughTheLoopback(t *testing.T) {
	need(t, loopbackProblem())
	l, err := Target{kind: kindVsock, cid: 16}.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if addr := l.Addr().(*vsock.Addr); addr.ContextID != cidAny {
		t.Errorf("bound to %v", addr)
	}
	roundTrip(t, l, portOf(l))
}

func TestVsockWithoutAListenerIsAReset(t *testing.T) {
	l, target := listenLocal(t)
	l.Close()
	conn, err := target.Dial(t.Context())
	de, ok := errors.AsType[*DialError](err)
	if conn != nil || !ok || !errors.Is(err, syscall.ECONNRESET) || de.Hint == "" || !Retryable(err) || de.Timeout() {
		t.Fatalf("%v, %v (retryable %v)", conn, err, Retryable(err))
	}
	t.Log(err)
}

func TestVsockComesBackOnTheSamePortAfterItsListenerClosed(t *testing.T) {
	l, target := listenLocal(t)
	for range 20 {
		l.Close()
		if _, err := target.Dial(t.Context()); !Retryable(err) {
			t.Fatalf("while it is away: %v", err)
		}
		var err error
		if l, err = target.Listen(); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		roundTrip(t, l, target)
	}
}

func TestVsockWithAnAbsentCIDIsRetryable(t *testing.T) {
	need(t, familyProblem())
	conn, err := Target{kind: kindVsock, cid: absentCID, port: 5000}.Dial(t.Context())
	de, ok := errors.AsType[*DialError](err)
	if conn != nil || !ok || de.Hint == "" || !Retryable(err) {
		t.Fatalf("%v, %v (retryable %v)", conn, err, Retryable(err))
	}
	// A guest's own transport sends everything to its host, which may say nothing until the kernel gives up.
	guest := loopbackProblem() != ""
	if !errors.Is(err, syscall.ENODEV) && !(guest && errors.Is(err, syscall.ETIMEDOUT)) {
		t.Errorf("unexpected errno: %v", err)
	}
	t.Log(err)
}

func TestVsockCancelReturnsLongBeforeTheKernelGivesUp(t *testing.T) {
	need(t, familyProblem())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := time.Now()
	time.AfterFunc(20*time.Millisecond, cancel) // by then the connect is under way
	_, err := Target{kind: kindVsock, cid: absentCID, port: 5000}.Dial(ctx)
	// Where the kernel knows at once that the CID is absent, there is nothing to cancel.
	if !errors.Is(err, context.Canceled) && !errors.Is(err, syscall.ENODEV) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("returned after %v; the kernel's own limit is 2 s", took)
	}
	t.Log(err)
}

func TestVsockDeadlineEndsTheAttempt(t *testing.T) {
	need(t, familyProblem())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := Target{kind: kindVsock, cid: absentCID, port: 5000}.Dial(ctx)
	de, ok := errors.AsType[*DialError](err)
	if !ok || !Retryable(err) || de.Hint == "" {
		t.Fatalf("%v (retryable %v)", err, Retryable(err))
	}
	if errors.Is(err, context.DeadlineExceeded) != de.Timeout() || !de.Timeout() && !errors.Is(err, syscall.ENODEV) {
		t.Errorf("timeout %v: %v", de.Timeout(), err)
	}
}

func TestVsockEchoesAMiBInSplitWrites(t *testing.T) {
	l, target := listenLocal(t)
	conn, server, stop, err := pipeOver(t.Context(), l, target.Dial)()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for name, c := range map[string]net.Conn{"dialled": conn, "accepted": server} {
		if _, ok := c.(splitRawConn); !ok {
			t.Errorf("the %s connection is a %T: its writes are not split", name, c)
		}
	}
	data := pattern(1 << 20)
	var running sync.WaitGroup
	running.Go(func() { io.Copy(server, server) })
	running.Go(func() {
		buffers := net.Buffers{data[:300_000], data[300_000:]}
		if _, err := buffers.WriteTo(conn); err != nil {
			t.Error(err)
		}
	})
	got := make([]byte, len(data))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Error(err)
	} else if !bytes.Equal(got, data) {
		t.Error("the echo differs")
	}
	stop()
	running.Wait()
}

func TestVsockDescriptorIsReachable(t *testing.T) {
	l, target := listenLocal(t)
	conn, server, stop, err := pipeOver(t.Context(), l, target.Dial)()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	var n int
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		n, rerr = syscall.Read(int(fd), buf)
		return !errors.Is(rerr, syscall.EAGAIN)
	})
	if err != nil || rerr != nil || string(buf[:n]) != "ping" {
		t.Errorf("raw read: %q, %v, %v", buf[:n], rerr, err)
	}
}

func TestVsockCancelsThatRaceWithConnectLeakNoDescriptor(t *testing.T) {
	l, target := listenLocal(t)
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	before := descriptors(t)
	var connected, cancelled int
	for i := range 200 {
		// The attempt takes some tens of microseconds on real hardware and more when emulated; the sweep crosses it.
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*20*time.Microsecond)
		conn, err := target.Dial(ctx)
		switch {
		case err == nil:
			connected++
			conn.Close()
		case errors.Is(err, context.DeadlineExceeded):
			cancelled++
		default:
			t.Errorf("%v", err)
		}
		cancel()
	}
	l.Close()
	<-accepting
	t.Logf("%d connected, %d cut short", connected, cancelled)
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// descriptors counts this process's open descriptors.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
