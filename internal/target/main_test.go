package target

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustParse(t testing.TB, s string) Target {
	t.Helper()
	target, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// socketDir returns a directory with a path short enough for unix sockets; t.TempDir contains the test's name.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serve accepts connections at a new unix socket and gives each to handle; it returns the path. The connection is
// closed when handle returns, and the test waits for all of them.
func serve(t testing.TB, handle func(net.Conn)) (path string) {
	t.Helper()
	path = filepath.Join(socketDir(t), "v.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			handle(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return path
}
