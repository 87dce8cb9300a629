package enclave

import (
	"net"
	"sync"

	"github.com/enclavepool/enclavepool/internal/target"
)

// listening serialises Listen, which changes the process's umask for a moment.
var listening sync.Mutex

// Listen listens on a target: vsock:cid:port (on any CID, or on CID 1 this machine alone), unix:path,
// unix-abstract:name or host:port, where port 0, which is no target to dial, draws a free one. A unix socket is readable and writable by this user only, replaces
// one that a killed process left behind, and is removed when the listener is closed. Files that other
// goroutines create at the same time get the same narrow mode.
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
	defer narrowUmask()()
	return t.Listen()
}
