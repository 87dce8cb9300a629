package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/routing"
)

// maxRequestTimeout is the longest time that an HTTP request or an exchange on a stream may ask for.
const maxRequestTimeout = 30 * time.Second

// Config are the settings of a Gateway.
type Config struct {
	// Pool are the enclaves and how to keep connected to them; start from pool.DefaultConfig.
	Pool pool.Config
	// Transport is how requests travel to the enclaves. Empty: Stream.
	Transport Transport
	// Selector says which enclave serves a key, and with a Directory which one gets a new key; ParseRouting makes some. Nil:
	// routing.NewRendezvous.
	Selector routing.Selector
	// Limits are how long clients may take. Zero: DefaultLimits.
	Limits Limits
	// Directory has written down where each key lives, and is asked before the Selector. It stays its owner's to close. Nil:
	// there is none.
	Directory routing.Directory
	// DirectoryCache is how many places are kept in memory at most. 0: DefaultDirectoryCache.
	DirectoryCache int
	// MirrorDirectory keeps all places in memory, as far as that goes, and not merely those that were asked for.
	MirrorDirectory bool
	// Logger is the gateway's and the pool's. Nil: slog.Default().
	Logger *slog.Logger
}

// Gateway is a pool with servers in front of it. It is safe for concurrent use.
type Gateway struct {
	log      *slog.Logger
	pool     *pool.Pool
	backend  *backend
	placed   *placed // nil: without a directory
	metrics  *metrics
	health   *health.Server
	grpc     *grpc.Server
	http     *http.Server
	debug    *http.Server
	stopping chan struct{}
	stop     func() // closes stopping
}

// New starts connecting to the enclaves and returns; Serve takes calls. The error is the pool's: errors.Join of one
// for every setting that is not valid.
func New(cfg Config) (*Gateway, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Selector == nil {
		cfg.Selector = routing.NewRendezvous()
	}
	if cfg.Limits == (Limits{}) {
		cfg.Limits = DefaultLimits()
	}
	transport, err := ParseTransport(string(cfg.Transport))
	if err != nil {
		return nil, fmt.Errorf("Transport is %q: %w", cfg.Transport, err)
	}
	m, err := newMetrics()
	if err != nil {
		return nil, err
	}
	opts := []pool.Option{pool.WithLogger(cfg.Logger), pool.WithMeterProvider(m.meters())}
	if transport == Unary {
		opts = append(opts, pool.WithServiceConfig(unaryConfig))
	}
	p, err := pool.New(cfg.Pool, opts...)
	if err != nil {
		return nil, errors.Join(err, m.close(context.Background()))
	}
	g := &Gateway{log: cfg.Logger, pool: p, metrics: m, health: health.NewServer(), stopping: make(chan struct{})}
	g.stop = sync.OnceFunc(func() { close(g.stopping) })
	g.placed = newPlaced(cfg)
	m.follow(g.placed)
	g.backend = newBackend(p, cfg.Selector, g.placed, transport, m.signs)
	g.backend.setRequestTimeout(cfg.Pool.RequestTimeout)
	g.grpc = g.newGRPCServer(cfg.Limits)
	g.debug = newDebugServer(cfg.Limits, cfg.Logger)
	g.http = &http.Server{
		Handler:           g.routes(),
		ReadHeaderTimeout: cfg.Limits.Header,
		ReadTimeout:       cfg.Limits.Read,
		WriteTimeout:      maxRequestTimeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	return g, nil
}

// Update makes cfg the pool's configuration while calls go on, as pool.Pool.Update does: enclaves come, go and move, and
// requests are routed among those that are there. One that is not valid changes nothing, and the error says why.
func (g *Gateway) Update(cfg pool.Config) error {
	if err := g.pool.Update(cfg); err != nil {
		return err
	}
	g.backend.setRequestTimeout(cfg.RequestTimeout)
	return nil
}

// Reloaded notes for /metrics whether the configuration as it stands is in effect: err is nil, or says why it is not.
func (g *Gateway) Reloaded(err error) {
	in := 1.0
	if err != nil {
		in = 0
	}
	g.metrics.config.Set(in)
}

func (g *Gateway) newGRPCServer(l Limits) *grpc.Server {
	s := grpc.NewServer(
		// Clients may ping every 10 s: a ping that was delayed makes the next one seem early.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 10 * time.Second}),
		grpc.ConnectionTimeout(l.Handshake),
		grpc.MaxConcurrentStreams(1024),
		grpc.MaxRecvMsgSize(maxBody),
		grpc.MaxSendMsgSize(maxBody),
		grpc.MaxHeaderListSize(16<<10),
	)
	signerv1.RegisterSignerServiceServer(s, &service{backend: g.backend, stopping: g.stopping})
	g.health.SetServingStatus(signerv1.SignerService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(s, g.health)
	reflection.Register(s)
	return s
}

func (g *Gateway) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/keys", g.endpoint(g.createKey))
	mux.Handle("/v1/sign", g.endpoint(g.signDigest))
	mux.HandleFunc("/v1/route", g.route)
	mux.HandleFunc("GET /healthz", g.healthz)
	mux.HandleFunc("GET /readyz", g.readyz)
	mux.Handle("GET /metrics", g.metrics.page)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		g.writeError(w, r, httpError{status: http.StatusNotFound, error: refuse(codes.Unimplemented, "no such path")})
	})
	return mux
}

// Serve takes gRPC calls from one listener and HTTP requests from the other, until Shutdown, after which it returns
// nil, or until one of them fails. It closes both.
func (g *Gateway) Serve(grpcListener, httpListener net.Listener) error {
	for _, l := range []net.Listener{grpcListener, httpListener} {
		if exposed(l.Addr()) {
			g.log.Warn("other machines may reach this address, and callers are neither authenticated nor encrypted",
				"address", l.Addr().String())
		}
	}
	failed := make(chan error, 2)
	go func() {
		if err := g.grpc.Serve(grpcListener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			failed <- fmt.Errorf("gRPC: %w", err)
			return
		}
		failed <- nil
	}()
	go func() {
		if err := g.http.Serve(httpListener); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("HTTP: %w", err)
			return
		}
		failed <- nil
	}()
	err := <-failed
	if err != nil {
		g.grpc.Stop()
		_ = g.http.Close() // its error is a listener's that is being given up
	}
	return errors.Join(err, <-failed)
}

func (g *Gateway) isStopping() bool {
	select {
	case <-g.stopping:
		return true
	default:
		return false
	}
}

// Shutdown takes no more calls, says so at /readyz and in the health service, and waits for the calls in flight until
// ctx ends. Streams are ended after the messages that have been read from them. Then it closes the pool. The error
// says what had to be cut.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.stop()
	g.health.Shutdown()
	var errs []error
	done := make(chan struct{})
	go func() {
		g.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("gRPC calls in flight were cut: %w", ctx.Err()))
		g.grpc.Stop() // makes GracefulStop return
		<-done
	}
	// HTTP comes second, so that /readyz goes on answering as long as anything does.
	if err := g.http.Shutdown(ctx); err != nil {
		errs = append(errs, fmt.Errorf("HTTP requests in flight were cut: %w", err), g.http.Close())
	}
	// The status page goes last, so that it shows the rest.
	errs = append(errs, g.pool.Close(ctx), g.placed.Close(), g.metrics.close(context.Background()), g.debug.Close())
	return errors.Join(errs...)
}
