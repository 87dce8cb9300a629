package pool

import (
	"io"
	"net"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/enclavepool/enclavepool/internal/target"
)

func TestWhatLiesUnreadInASocketIsSeenAndLeftThere(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("it cannot be told on " + runtime.GOOS)
	}
	path := filepath.Join(t.TempDir(), "s")
	lis, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	at, err := target.Parse("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := at.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if unread(c) {
		t.Error("something is unread, and nothing was sent")
	}
	if _, err := peer.Write([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	if !unread(c) {
		t.Error("what was sent is not seen") // a unix socket has it when the write returns
	}
	b := make([]byte, 8)
	if n, err := c.Read(b); n != 2 || err != nil || unread(c) {
		t.Errorf("%d bytes read, %v; still unread: %v", n, err, unread(c))
	}
	peer.Close()
	if _, err := c.Read(b); err != io.EOF || unread(c) {
		t.Error("the end of the stream is no byte")
	}
	c.Close()
	if unread(c) {
		t.Error("something is unread on a closed connection")
	}
	one, two := net.Pipe() // has no socket
	defer one.Close()
	defer two.Close()
	if unread(one) {
		t.Error("something is unread where it cannot be told")
	}
}
