package enclave

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/enclavepool/enclavepool/internal/target"
)

// listening serialises Listen, which changes the process's umask for a moment.
var listening sync.Mutex

// Listen listens on a target: vsock:cid:port (on any CID, or on CID 1 this machine alone), unix:path,
// unix-abstract:name or host:port, where port 0, which is no target to dial, draws a free one. A unix socket
// is readable and writable by this user only (0600), replaces one that a killed process left behind, and is
// removed when the listener is closed; its folder, where it is missing, is made for this user only (0700),
// and not removed. Files that other goroutines create at the same time get the same narrow mode.
func Listen(address string) (net.Listener, error) {
	t, err := target.Parse(address)
	if err != nil {
		if host, port, serr := net.SplitHostPort(address); serr == nil && port == "0" {
			return net.Listen("tcp", net.JoinHostPort(host, port))
		}
		return nil, err
	}
	listening.Lock()
	defer listening.Unlock()
	if path := t.SocketFile(); path != "" && t.Network() == "unix" {
		// Any other failure shows when the socket is made.
		_ = os.Mkdir(filepath.Dir(path), 0o700)
	}
	defer narrowUmask()()
	return t.Listen()
}

// Exposed says who else than this user can put a socket of theirs in the place of one that Listen made, or reach it;
// empty: nobody, as far as the mode of its folder tells, or it is no socket file.
func Exposed(address string) string {
	t, err := target.Parse(address)
	if err != nil {
		return ""
	}
	if t.Abstract() {
		return "any process of this network namespace: an abstract socket has no owner"
	}
	if t.SocketFile() == "" {
		return ""
	}
	folder := filepath.Dir(t.SocketFile())
	if info, err := os.Stat(folder); err == nil && info.Mode().Perm()&0o022 != 0 {
		return fmt.Sprintf("whoever may write to %s, which has mode %v", folder, info.Mode().Perm())
	}
	return ""
}
