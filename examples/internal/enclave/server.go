package enclave

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// writeBufferSize keeps single writes small enough for vsock on hosts whose kernels corrupt large ones.
const writeBufferSize = 16 << 10

// Server is an enclave. It is safe for concurrent use.
type Server struct {
	opts   Options
	keys   keyring
	grpc   *grpc.Server
	health *health.Server
	count  counters
	calls  atomic.Uint64 // calls that met the faults in force, to tell every n-th
	faults atomic.Pointer[inForce]

	serving atomic.Pointer[time.Time] // when it began

	mu      sync.Mutex
	conns   map[*conn]struct{}
	setting sync.Mutex // held while the faults change, so that their effects come in the same order
}

// New returns a server that is not yet serving. The error names every option that is not valid.
func New(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, health: health.NewServer(), conns: make(map[*conn]struct{})}
	creds := o.Credentials
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	s.grpc = grpc.NewServer(append([]grpc.ServerOption{
		grpc.Creds(watched{creds, s}),
		grpc.InTapHandle(s.tap),
		grpc.ChainUnaryInterceptor(s.unary),
		grpc.ChainStreamInterceptor(s.stream),
		grpc.MaxConcurrentStreams(o.MaxConcurrentStreams),
		grpc.WriteBufferSize(writeBufferSize),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: o.KeepaliveMinTime, PermitWithoutStream: true}),
	}, o.ServerOptions...)...)
	signerv1.RegisterSignerServiceServer(s.grpc, service{s: s})
	signerv1.RegisterInventoryServiceServer(s.grpc, inventory{s: s})
	healthpb.RegisterHealthServer(s.grpc, s.health)
	s.apply(o.Faults)
	return s, nil
}

// Serve accepts connections from lis until Stop or Close, after which it returns nil, or until the
// listener fails. It closes lis in either case. It may be called for several listeners.
func (s *Server) Serve(lis net.Listener) error {
	now := time.Now()
	s.serving.CompareAndSwap(nil, &now)
	if err := s.grpc.Serve(lis); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil // stopped before it began
}

// Stop says NOT_SERVING and GOAWAY, waits until the calls in flight are done or ctx ends, and then cuts
// what is left. A SignStream is in flight until its client ends it. Stop returns ctx's error when
// something had to be cut.
func (s *Server) Stop(ctx context.Context) error {
	s.health.Shutdown()
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.grpc.Stop() // makes GracefulStop return
		<-done
		return ctx.Err()
	}
}

// Close stops at once: calls in flight fail.
func (s *Server) Close() { s.grpc.Stop() }

func (s *Server) remember(c *conn) {
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// open returns the connections open now, in no order.
func (s *Server) open() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}
