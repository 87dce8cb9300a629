package pool

import (
	"context"
	"log/slog"
	"net"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Option sets what a Config, which is plain data, cannot hold.
type Option func(*options)

type options struct {
	logger        *slog.Logger
	meters        metric.MeterProvider
	credentials   credentials.TransportCredentials
	plaintext     bool
	dialOptions   []grpc.DialOption
	dialer        func(ctx context.Context, target string) (net.Conn, error)
	serviceConfig string
	trackLeases   bool
	verifiers     []func(context.Context, PeerInfo) error
}

func newOptions(opts []Option) options {
	o := options{
		logger:      slog.Default(),
		meters:      otel.GetMeterProvider(),
		credentials: insecure.NewCredentials(),
		plaintext:   true,
	}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// WithLogger sets where the pool logs. Default: slog.Default(). A nil logger
// changes nothing.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithMeterProvider sets where the pool's metrics go. Default: the process's
// global provider. A nil provider changes nothing.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(o *options) {
		if p != nil {
			o.meters = p
		}
	}
}

// WithTransportCredentials sets how connections are secured. Default: not at
// all, plaintext; that is said once in the log for each target whose bytes can
// leave this machine. A nil value changes nothing.
func WithTransportCredentials(c credentials.TransportCredentials) Option {
	return func(o *options) {
		if c != nil {
			o.credentials, o.plaintext = c, false
		}
	}
}

// WithDialOptions adds gRPC dial options: interceptors, stats handlers, message
// sizes. Transport credentials among them are refused by New (use
// WithTransportCredentials); a dialer, keepalive, connect parameters, service
// config or authority among them are overridden by the pool's own. A
// WaitForReady among default call options is not seen by the pool; give it per
// call or in the service config.
func WithDialOptions(opts ...grpc.DialOption) Option {
	return func(o *options) { o.dialOptions = append(o.dialOptions, opts...) }
}

// WithDialer replaces how a target is dialled. The dialer gets Enclave.Target
// as it stands in the Config, unparsed; its context ends when the attempt is
// given up, and it has to return soon after that.
func WithDialer(dial func(ctx context.Context, target string) (net.Conn, error)) Option {
	return func(o *options) { o.dialer = dial }
}

// WithServiceConfig sets a gRPC service config as JSON, for retry policies and
// method settings. It is merged with the pool's own; a loadBalancingConfig in it
// is refused by New.
func WithServiceConfig(json string) Option {
	return func(o *options) { o.serviceConfig = json }
}

// WithLeaseTracking makes the pool remember where every lease was acquired, for
// finding those that are never released: EnclaveStats.Leases lists what is out,
// and one that has been out for a minute is logged. It costs a lock and a stack
// trace a lease, so it is for debugging. Warm streams are not leases.
func WithLeaseTracking() Option {
	return func(o *options) { o.trackLeases = true }
}
