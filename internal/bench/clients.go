package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/enclavepool/enclavepool/pool"
)

// enclaveID is the first enclave's; the others are not called.
const enclaveID = "enclave-0"

const patience = 30 * time.Second

// openPool opens conns connections to each of so many enclaves, which all
// listen at target, with the default configuration otherwise. closePool cuts
// what is still in flight.
func openPool(ctx context.Context, target string, enclaves, conns, streams int, opts ...pool.Option) (p *pool.Pool, closePool func(), err error) {
	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = conns, conns, streams
	for i := range enclaves {
		cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: fmt.Sprintf("enclave-%d", i), Target: target})
	}
	p, err = pool.New(cfg, append(opts, pool.WithLogger(slog.New(slog.DiscardHandler)))...)
	if err != nil {
		return nil, nil, err
	}
	closePool = func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.Close(ctx) // nothing is measured any more
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.Ready(ctx); err != nil {
		closePool()
		return nil, nil, err
	}
	return p, closePool, nil
}

// openRaw opens one connection with the pool's keepalive and gRPC's defaults.
func openRaw(ctx context.Context, target string) (*grpc.ClientConn, error) {
	cc, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(pool.DefaultConfig().Keepalive),
		grpc.WithIdleTimeout(0))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cc.Connect()
	for s := cc.GetState(); s != connectivity.Ready; s = cc.GetState() {
		if !cc.WaitForStateChange(ctx, s) {
			cc.Close()
			return nil, fmt.Errorf("connect to %s: %w", target, context.Cause(ctx))
		}
	}
	return cc, nil
}
