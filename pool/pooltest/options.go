package pooltest

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// Option changes how an Enclave is served.
type Option func(*options)

type options struct {
	server   []grpc.ServerOption
	noHealth bool
}

// WithServerOptions adds gRPC server options: credentials, interceptors, limits.
func WithServerOptions(opts ...grpc.ServerOption) Option {
	return func(o *options) { o.server = append(o.server, opts...) }
}

// WithMaxConcurrentStreams makes the enclave advertise n streams per
// connection. Default: no limit is advertised. 0 means no limit as well.
func WithMaxConcurrentStreams(n uint32) Option {
	return WithServerOptions(grpc.MaxConcurrentStreams(n))
}

// WithoutHealthService leaves out grpc.health.v1.Health, so that a probe gets
// Unimplemented. Enclave.SetServing then changes nothing.
func WithoutHealthService() Option {
	return func(o *options) { o.noHealth = true }
}

// minPingInterval is below the 10 s that gRPC clients keep between two pings at
// least, so that no pool's keepalive is answered with too_many_pings.
const minPingInterval = 5 * time.Second

// serverOptions has the caller's options after the defaults, which they may
// replace, and before what the enclave's life cycle depends on.
func (o *options) serverOptions() []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime:             minPingInterval,
			PermitWithoutStream: true,
		}),
	}
	opts = append(opts, o.server...)
	// Stop then ends only when every handler has returned, which the end of the
	// test waits for.
	return append(opts, grpc.WaitForHandlers(true))
}
