package h2tap

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/vsock"
)

// noLoopback is nil where vsock loopback works. It is asked once, because without the loopback module the kernel lets
// a connect wait for two seconds.
var noLoopback = sync.OnceValue(func() error {
	l, err := vsock.ListenContextID(anyCID, anyPort, nil)
	if err != nil {
		return err
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := vsock.DialContext(ctx, vsock.Local, l.Addr().(*vsock.Addr).Port, nil)
	if err != nil {
		return err
	}
	return c.Close()
})

const anyCID, anyPort = 0xffffffff, 0xffffffff

// vsockPair returns the two ends of a connection over vsock loopback, and skips where the machine has none.
func vsockPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	if err := noLoopback(); err != nil {
		if os.Getenv("ENCLAVEPOOL_VSOCK") == "required" {
			t.Fatal(err)
		}
		t.Skipf("no vsock loopback here (no kernel module, or seccomp forbids AF_VSOCK): %v", err)
	}
	l, err := vsock.ListenContextID(anyCID, anyPort, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := vsock.Dial(vsock.Local, l.Addr().(*vsock.Addr).Port, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		c.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c, s
}

func TestAnIdleVsockConnectionHoldsNoBuffer(t *testing.T) {
	client, server := vsockPair(t)
	holdsNoBuffer(t, client, server)
}

func TestAVsockConnectionEndsAsOthersDo(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(c *Conn, client, server net.Conn)
		want error
	}{
		{"peer closed", func(_ *Conn, _, s net.Conn) { s.Close() }, io.EOF},
		{"closed here", func(c *Conn, _, _ net.Conn) { c.Close() }, net.ErrClosed},
		{"closed underneath", func(_ *Conn, c, _ net.Conn) { c.Close() }, net.ErrClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, server := vsockPair(t)
			c := New(client, &recorder{})
			pool := &countingPool{back: make(chan int, 100)}
			failed := make(chan error)
			go func() {
				_, _, err := c.ReadOnReady(4096, pool)
				failed <- err
			}()
			<-pool.back
			tt.do(c, client, server)
			if err := <-failed; !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}
