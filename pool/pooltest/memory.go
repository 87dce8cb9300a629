package pooltest

import (
	"context"
	"net"
	"sync"
	"syscall"
)

type memoryAddr string

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return string(a) }

// backlog is how many connections wait to be accepted before a dial blocks.
const backlog = 128

// memoryHost is a place to listen on and to dial.
type memoryHost struct {
	addr memoryAddr

	mu       sync.Mutex
	listener *memoryListener // nil while nobody listens
}

func (h *memoryHost) listen() (net.Listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listener != nil {
		return nil, opError("listen", h.addr, syscall.EADDRINUSE)
	}
	h.listener = &memoryListener{host: h, backlog: make(chan net.Conn, backlog), dead: make(chan struct{})}
	return h.listener, nil
}

// dial connects as a socket does: the listener need not have accepted.
func (h *memoryHost) dial(ctx context.Context) (net.Conn, error) {
	h.mu.Lock()
	l := h.listener
	h.mu.Unlock()
	if l == nil {
		return nil, opError("dial", h.addr, syscall.ECONNREFUSED)
	}
	client, server := memoryPipe(h.addr)
	select {
	case <-l.dead:
		return nil, opError("dial", h.addr, syscall.ECONNREFUSED)
	case l.backlog <- server:
	case <-ctx.Done():
		return nil, opError("dial", h.addr, ctx.Err())
	}
	select {
	case <-l.dead: // it may have emptied its backlog before this came in
		server.Close()
		return nil, opError("dial", h.addr, syscall.ECONNREFUSED)
	default:
		return client, nil
	}
}

type memoryListener struct {
	host    *memoryHost
	backlog chan net.Conn
	once    sync.Once
	dead    chan struct{}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case <-l.dead:
		return nil, opError("accept", l.host.addr, net.ErrClosed)
	case c := <-l.backlog:
		return c, nil
	}
}

// Close also closes what was never accepted.
func (l *memoryListener) Close() error {
	err := opError("close", l.host.addr, net.ErrClosed)
	l.once.Do(func() {
		l.host.mu.Lock()
		l.host.listener = nil
		l.host.mu.Unlock()
		close(l.dead)
		for {
			select {
			case c := <-l.backlog:
				c.Close()
			default:
				err = nil
				return
			}
		}
	})
	return err
}

func (l *memoryListener) Addr() net.Addr { return l.host.addr }

func opError(op string, addr net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "memory", Addr: addr, Err: err}
}
