package pooltest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// Enclave is a gRPC server that stands for an enclave, with faults. All its
// methods are safe for concurrent use.
type Enclave struct {
	tb       testing.TB
	target   string
	register func(*grpc.Server)
	opts     options
	health   *health.Server
	listen   func() (net.Listener, error)
	dial     func(ctx context.Context) (net.Conn, error)
	ending   sync.WaitGroup // servers that have been stopped and wait for their handlers

	mu       sync.Mutex
	run      *run // nil while stopped
	accepted int  // by earlier runs
}

// Start serves what register registers, and a health service that says
// SERVING, at a Unix socket in a temporary directory, until the end of the test
// or Stop. register is called again by every Restart, with a new server;
// it may be nil.
//
// At the end of the test the enclave is stopped and its handlers are waited
// for: those that do not return when their context ends fail the test.
func Start(tb testing.TB, register func(*grpc.Server), opts ...Option) *Enclave {
	tb.Helper()
	path := filepath.Join(socketDir(tb), "enclave.sock")
	e := newEnclave(tb, "unix:"+path, register, opts)
	e.listen = func() (net.Listener, error) { return net.Listen("unix", path) }
	e.dial = func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	e.start()
	return e
}

// memoryTargets tells enclaves in memory apart.
var memoryTargets atomic.Uint64

// NewMemory is Start without a socket: connections are made in memory, by
// Enclave.Dialer. A goroutine that waits on one is durably blocked in the sense
// of testing/synctest, so that time moves on inside a bubble. The enclave
// belongs to the bubble in which NewMemory is called.
func NewMemory(tb testing.TB, register func(*grpc.Server), opts ...Option) *Enclave {
	tb.Helper()
	target := fmt.Sprintf("memory:%d", memoryTargets.Add(1))
	e := newEnclave(tb, target, register, opts)
	host := &memoryHost{addr: memoryAddr(target)}
	e.listen, e.dial = host.listen, host.dial
	e.start()
	return e
}

func newEnclave(tb testing.TB, target string, register func(*grpc.Server), opts []Option) *Enclave {
	e := &Enclave{tb: tb, target: target, register: register, health: health.NewServer()}
	for _, opt := range opts {
		opt(&e.opts)
	}
	tb.Cleanup(e.cleanup)
	return e
}

// maxSocketPath is what every system takes: 108 bytes on Linux, 104 elsewhere,
// the terminating zero included.
const maxSocketPath = 103

// socketDir returns a directory whose path leaves room for the socket's name;
// tb.TempDir has the test's name in it, which may be long.
func socketDir(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	if len(dir)+len("/enclave.sock") <= maxSocketPath {
		return dir
	}
	dir, err := os.MkdirTemp("", "e")
	if err != nil {
		tb.Fatalf("pooltest: %v", err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Target is where the enclave listens, as a pool's configuration wants it:
// "unix:" and a path, or a name that only Dialer understands.
func (e *Enclave) Target() string { return e.target }

// Dialer returns a dialer for the pool's WithDialer that connects to this
// enclave, whether in memory or at a socket, and refuses every other target.
func (e *Enclave) Dialer() func(ctx context.Context, target string) (net.Conn, error) {
	return DialerFor(e)
}

// DialerFor is Enclave.Dialer for several enclaves, told apart by their targets.
func DialerFor(enclaves ...*Enclave) func(ctx context.Context, target string) (net.Conn, error) {
	byTarget := make(map[string]*Enclave, len(enclaves))
	for _, e := range enclaves {
		byTarget[e.target] = e
	}
	return func(ctx context.Context, target string) (net.Conn, error) {
		e, ok := byTarget[target]
		if !ok {
			return nil, fmt.Errorf("pooltest: no enclave at %q", target)
		}
		return e.dial(ctx)
	}
}

// start fails the test when the target cannot be listened on.
func (e *Enclave) start() {
	e.tb.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	l, err := e.listen()
	if err != nil {
		e.tb.Errorf("pooltest: listen on %s: %v", e.target, err)
		return
	}
	srv := grpc.NewServer(e.opts.serverOptions()...)
	if !e.opts.noHealth {
		grpc_health_v1.RegisterHealthServer(srv, e.health)
	}
	if e.register != nil {
		e.register(srv)
	}
	e.run = newRun(srv, l)
	e.ending.Add(1)
	go func(r *run) {
		defer e.ending.Done()
		// It returns nil after Stop; what else it says is the listener's end,
		// which is what the run was told to bring about.
		_ = srv.Serve(r)
	}(e.run)
}

// take returns what is running, if anything, and leaves the enclave stopped.
func (e *Enclave) take() *run {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.run
	e.run = nil
	if r != nil {
		e.accepted += r.acceptedCount()
	}
	return r
}

func (e *Enclave) current() *run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.run
}

// handlerPatience is how long the end of a test waits for handlers whose
// context has ended.
const handlerPatience = 10 * time.Second

func (e *Enclave) cleanup() {
	e.Stop()
	done := make(chan struct{})
	go func() { e.ending.Wait(); close(done) }()
	timer := time.NewTimer(handlerPatience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		e.tb.Errorf("pooltest: handlers at %s still run %v after their contexts ended", e.target, handlerPatience)
	}
}
