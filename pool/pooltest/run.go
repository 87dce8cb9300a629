package pooltest

import (
	"net"
	"slices"
	"sync"

	"google.golang.org/grpc"
)

// run is one life of an enclave, from listening to its end. It is the listener
// that its gRPC server accepts from.
type run struct {
	net.Listener
	srv  *grpc.Server
	gate gate
	dead chan struct{} // closed by Close

	mu       sync.Mutex
	closed   bool
	accepted int
	conns    []*serverConn // open, oldest first
}

func newRun(srv *grpc.Server, l net.Listener) *run {
	return &run{Listener: l, srv: srv, dead: make(chan struct{})}
}

// Accept implements net.Listener. While frozen it hangs, as the process would.
func (r *run) Accept() (net.Conn, error) {
	r.gate.pass(r.dead)
	raw, err := r.Listener.Accept()
	if err != nil {
		return nil, err
	}
	r.gate.pass(r.dead)
	c := &serverConn{Conn: raw, run: r, dead: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		raw.Close()
		return nil, net.ErrClosed
	}
	r.accepted++
	r.conns = append(r.conns, c)
	return c, nil
}

// Close implements net.Listener: nothing more is accepted.
func (r *run) Close() error {
	r.mu.Lock()
	already := r.closed
	r.closed = true
	r.mu.Unlock()
	if already {
		return net.ErrClosed
	}
	close(r.dead)
	return r.Listener.Close()
}

// kill closes the listener and every connection.
func (r *run) kill() {
	r.Close()
	r.drop(r.connCount())
}

// drop closes the n oldest connections, or as many as there are.
func (r *run) drop(n int) int {
	r.mu.Lock()
	oldest := slices.Clone(r.conns[:min(max(n, 0), len(r.conns))])
	r.mu.Unlock()
	dropped := 0
	for _, c := range oldest {
		if c.Close() == nil {
			dropped++
		}
	}
	return dropped
}

func (r *run) connCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}

func (r *run) acceptedCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted
}

func (r *run) forget(c *serverConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.conns, c); i >= 0 {
		r.conns = slices.Delete(r.conns, i, i+1)
	}
}

// serverConn is the enclave's end of a connection, as far as the gate lets it.
type serverConn struct {
	net.Conn
	run  *run
	once sync.Once
	dead chan struct{} // closed by Close
}

// Read implements net.Conn. Bytes that arrive while frozen are held back.
func (c *serverConn) Read(p []byte) (int, error) {
	c.run.gate.pass(c.dead)
	n, err := c.Conn.Read(p)
	c.run.gate.pass(c.dead)
	return n, err
}

// Write implements net.Conn.
func (c *serverConn) Write(p []byte) (int, error) {
	c.run.gate.pass(c.dead)
	return c.Conn.Write(p)
}

// Close implements net.Conn; a second call returns net.ErrClosed.
func (c *serverConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		c.run.forget(c)
		close(c.dead)
		err = c.Conn.Close()
	})
	return err
}

// gate is open at first.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // nil while open
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

// pass waits until the gate is open or dead is closed.
func (g *gate) pass(dead <-chan struct{}) {
	for {
		g.mu.Lock()
		opened := g.opened
		g.mu.Unlock()
		if opened == nil {
			return
		}
		select {
		case <-opened:
		case <-dead:
			return
		}
	}
}
