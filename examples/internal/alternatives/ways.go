package alternatives

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/GoogleCloudPlatform/grpc-gcp-go/grpcgcp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/internal/target"
	"github.com/enclavepool/enclavepool/pool"
)

const (
	keyID    = "alternatives"
	conns    = 16 // of every way that has several
	patience = 10 * time.Second
)

// retries is the retry policy that every way has: gRPC's own, for a method that may be repeated.
const retries = `"methodConfig":[{"name":[{"service":"signer.v1.SignerService","method":"Sign"}],"retryPolicy":{"maxAttempts":4,
"initialBackoff":"0.01s","maxBackoff":"0.1s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]`

// way is one way to an enclave.
type way struct {
	name, about string
	open        func(ctx context.Context, to target.Target) (*opened, error)
}

// opened is a way that is open. sign is safe for concurrent use.
type opened struct {
	sign  func(ctx context.Context, digest []byte) error
	close func()
}

// ways returns all of them, in the order of the tables.
func ways() []way {
	return []way{
		{"one ClientConn", "`grpc.NewClient`, shared by all", func(ctx context.Context, to target.Target) (*opened, error) {
			return openConns(ctx, to, 1, "{"+retries+"}")
		}},
		{"16 ClientConns", "in turn, by an atomic counter: what the connection pool of google.golang.org/api does", func(ctx context.Context, to target.Target) (*opened, error) {
			return openConns(ctx, to, conns, "{"+retries+"}")
		}},
		{"grpc-gcp", "github.com/GoogleCloudPlatform/grpc-gcp-go v1.6.0, 16 connections, a new one from 6 streams on", func(ctx context.Context, to target.Target) (*opened, error) {
			config := fmt.Sprintf(`{"loadBalancingConfig":[{%q:{"channelPool":{"minSize":%d,"maxSize":%d,"maxConcurrentStreamsLowWatermark":6}}}],%s}`,
				grpcgcp.Name, conns, conns, retries)
			return openConns(ctx, to, 1, config, grpc.WithDisableServiceConfig(),
				grpc.WithUnaryInterceptor(grpcgcp.GCPUnaryClientInterceptor), grpc.WithStreamInterceptor(grpcgcp.GCPStreamClientInterceptor))
		}},
		{"enclavepool, unary", "`Pool.Conn`, 16 to 32 connections", func(ctx context.Context, to target.Target) (*opened, error) {
			return openPool(ctx, to, false)
		}},
		{"enclavepool, warm streams", "`Streams.Exchange`, 16 to 32 connections", func(ctx context.Context, to target.Target) (*opened, error) {
			return openPool(ctx, to, true)
		}},
	}
}

func request(digest []byte) *signerv1.SignRequest {
	return &signerv1.SignRequest{KeyId: keyID, Digest: digest}
}

// openConns opens n ClientConns that are used in turn.
func openConns(ctx context.Context, to target.Target, n int, config string, opts ...grpc.DialOption) (*opened, error) {
	var all []*grpc.ClientConn
	closeAll := func() {
		for _, cc := range all {
			cc.Close()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for range n {
		cc, err := grpc.NewClient("passthrough:///"+to.String(), append([]grpc.DialOption{
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"), grpc.WithDefaultServiceConfig(config),
			grpc.WithKeepaliveParams(pool.DefaultConfig().Keepalive),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return to.Dial(ctx) }),
		}, opts...)...)
		if err == nil {
			all = append(all, cc)
			err = ready(ctx, cc)
		}
		if err != nil {
			closeAll()
			return nil, err
		}
	}
	var next atomic.Uint32
	return &opened{close: closeAll, sign: func(ctx context.Context, digest []byte) error {
		_, err := signerv1.NewSignerServiceClient(all[next.Add(1)%uint32(n)]).Sign(ctx, request(digest))
		return err
	}}, nil
}

func ready(ctx context.Context, cc *grpc.ClientConn) error {
	cc.Connect()
	for s := cc.GetState(); s != connectivity.Ready; s = cc.GetState() {
		if !cc.WaitForStateChange(ctx, s) {
			return fmt.Errorf("not connected: %w", ctx.Err())
		}
	}
	return nil
}

// openPool opens this library's.
func openPool(ctx context.Context, to target.Target, warm bool) (*opened, error) {
	cfg := pool.DefaultConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: to.String()}}
	p, err := pool.New(cfg, pool.WithLogger(slog.New(slog.DiscardHandler)), pool.WithServiceConfig("{"+retries+"}"))
	if err != nil {
		return nil, err
	}
	closePool := func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.Close(ctx) // what is in flight then is cut, and counts no more
	}
	starting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.Ready(starting); err != nil {
		closePool()
		return nil, err
	}
	if !warm {
		client := signerv1.NewSignerServiceClient(p.Conn("a"))
		return &opened{close: closePool, sign: func(ctx context.Context, digest []byte) error {
			_, err := client.Sign(ctx, request(digest))
			return err
		}}, nil
	}
	streams := pool.NewStreams(p, func(ctx context.Context, cc grpc.ClientConnInterface) (
		grpc.BidiStreamingClient[signerv1.SignStreamRequest, signerv1.SignStreamResponse], error) {
		return signerv1.NewSignerServiceClient(cc).SignStream(ctx)
	}, pool.WithIdempotent())
	return &opened{close: closePool, sign: func(ctx context.Context, digest []byte) error {
		res, err := streams.Exchange(ctx, "a", &signerv1.SignStreamRequest{Id: 1, Request: &signerv1.SignStreamRequest_Sign{Sign: request(digest)}})
		switch {
		case err != nil:
			return err
		case res.GetError() != nil:
			return signer.AsError(res.GetError())
		case res.GetSign() == nil:
			return errors.New("the answer is not that to a sign request")
		}
		return nil
	}}, nil
}
