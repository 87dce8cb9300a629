package pool_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
	"path"
	"strings"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
)

func ExampleEnclave() {
	cfg := pool.DefaultConfig()
	cfg.Enclaves = []pool.Enclave{
		{ID: "signer-a", Target: "vsock:16:5000"},                           // a Nitro enclave: CID and port
		{ID: "signer-b", Target: "hvsock:///run/vm.sock:5000"},              // a Firecracker guest's port
		{ID: "signer-c", Target: "unix:/run/vsock-proxy.sock", Weight: 2},   // behind a proxy; twice the keys
		{ID: "audit", Target: "vsock:17:5000", MinConns: 2, MaxConns: 4},    // fewer connections
		{ID: "dev", Target: "localhost:5000", Authority: "signer.internal"}, // on a laptop
	}
	fmt.Println(cfg.Validate())
	// Output: <nil>
}

// An enclave that turns calls away now and then, and a method that may be
// repeated. Each attempt goes to whichever connection is there.
func ExampleWithServiceConfig() {
	target, stop := startEnclave(&signer{busy: 2}) // the first two get Unavailable
	defer stop()
	cfg := exampleConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: target}}
	p, err := pool.New(cfg, quiet, pool.WithServiceConfig(`{"methodConfig": [{
		"name": [{"service": "grpc.testing.TestService", "method": "UnaryCall"}],
		"retryPolicy": {
			"maxAttempts": 4,
			"initialBackoff": "0.01s", "maxBackoff": "0.1s", "backoffMultiplier": 2,
			"retryableStatusCodes": ["UNAVAILABLE"]
		}
	}]}`))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(context.Background())

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := p.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	reply, err := grpc_testing.NewTestServiceClient(p.Conn("a")).UnaryCall(ctx, digest("invoice 7"))
	fmt.Printf("%s, %v\n", reply.GetPayload().GetBody(), err)
	// Output: signature of invoice 7, <nil>
}

// Targets of your own: here names that are looked up in a table.
func ExampleWithDialer() {
	target, stop := startEnclave(&signer{})
	defer stop()
	sockets := map[string]string{"the-signer": strings.TrimPrefix(target, "unix:")}

	cfg := exampleConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "the-signer"}}
	p, err := pool.New(cfg, quiet, pool.WithDialer(func(ctx context.Context, target string) (net.Conn, error) {
		socket, ok := sockets[target]
		if !ok {
			return nil, errors.New("no such enclave")
		}
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket) // ends with ctx
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	fmt.Println(p.Ready(ctx))
	// Output: <nil>
}

func ExampleWithLeaseTracking() {
	p, stop := startPool(pool.WithLeaseTracking())
	defer stop()
	lease, err := p.Acquire(context.Background(), "a")
	if err != nil {
		log.Fatal(err)
	}
	defer lease.Release() // without it, it would be listed for ever, and logged after a minute

	for _, l := range p.Stats().Enclaves["a"].Leases {
		_, function, _ := strings.Cut(l.Site, " ") // before it comes file:line
		fmt.Println("out, acquired by", path.Base(function))
	}
	// Output: out, acquired by pool_test.ExampleWithLeaseTracking
}

// TLS that trusts the enclaves' own authority and nobody else.
func ExampleWithTransportCredentials() {
	pem, err := os.ReadFile("/etc/gateway/enclave-ca.pem")
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		log.Fatal("no certificate in enclave-ca.pem")
	}
	cfg := pool.DefaultConfig()
	// The certificate has to be for the Authority.
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "vsock:16:5000", Authority: "signer.internal"}}
	p, err := pool.New(cfg, pool.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		RootCAs:    roots,
		MinVersion: tls.VersionTLS13,
	})))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(context.Background())
}

// The application's own provider, and so its own registry. A gateway has a
// Prometheus or OTLP exporter where this example has a reader to be asked.
func ExampleWithMeterProvider() {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	_, stop := startPool(pool.WithMeterProvider(provider))
	defer stop()

	var got metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &got); err != nil {
		log.Fatal(err)
	}
	for _, scope := range got.ScopeMetrics {
		for _, m := range scope.Metrics {
			if g, ok := m.Data.(metricdata.Gauge[int64]); ok && m.Name == "active_conns" {
				for _, d := range g.DataPoints {
					enclave, _ := d.Attributes.Value("enclave_id")
					fmt.Printf("active_conns{enclave_id=%q} %d\n", enclave.AsString(), d.Value)
				}
			}
		}
	}
	// Output: active_conns{enclave_id="a"} 4
}

// Interceptors see the callers' calls; health probes are none of them.
func ExampleWithDialOptions() {
	p, stop := startPool(pool.WithDialOptions(grpc.WithUnaryInterceptor(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			err := next(ctx, method, req, reply, cc, opts...)
			fmt.Println(method, err)
			return err
		})))
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := grpc_testing.NewTestServiceClient(p.Conn("a")).UnaryCall(ctx, digest("invoice 7")); err != nil {
		log.Fatal(err)
	}
	// Output: /grpc.testing.TestService/UnaryCall <nil>
}

func ExampleWithLogger() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "after" {
				return slog.Attr{} // different every time
			}
			return a
		},
	}))
	p, stop := startPool(pool.WithLogger(logger.With("component", "pool")))
	if err := p.Drain(context.Background(), "a"); err != nil {
		log.Fatal(err)
	}
	stop()
	// Output:
	// level=INFO msg="enclave connected" component=pool enclave_id=a
	// level=INFO msg=draining component=pool enclave_id=a in_flight=0
	// level=INFO msg=drained component=pool enclave_id=a
}
