package pooltest

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"

	"golang.org/x/net/nettest"
)

func TestAConnectionInMemoryBehavesAsANetConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2 = memoryPipe("memory:test")
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

func TestAWriteIntoFullBuffersWaitsForTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := memoryPipe("memory:test")
		defer client.Close()
		wrote := make(chan int)
		go func() {
			n, err := client.Write(make([]byte, halfSize+1))
			if err != nil {
				t.Error(err)
			}
			wrote <- n
		}()
		synctest.Wait()
		select {
		case n := <-wrote:
			t.Fatalf("wrote %d bytes into a buffer of %d", n, halfSize)
		default:
		}
		if _, err := io.ReadFull(server, make([]byte, halfSize+1)); err != nil {
			t.Fatal(err)
		}
		if n := <-wrote; n != halfSize+1 {
			t.Errorf("wrote %d bytes", n)
		}
		server.Close()
		if _, err := client.Write([]byte{1}); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a closed peer: %v; want EPIPE", err)
		}
	})
}

func TestADialWithAFullBacklogEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &memoryHost{addr: "memory:test"}
		l, err := h.listen()
		if err != nil {
			t.Fatal(err)
		}
		for range backlog {
			c, err := h.dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error)
		go func() { _, err := h.dial(ctx); failed <- err }()
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("dial: %v; want context.Canceled", err)
		}
		go func() { _, err := h.dial(t.Context()); failed <- err }()
		synctest.Wait()
		l.Close()
		if err := <-failed; !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v; want ECONNREFUSED", err)
		}
	})
}
