package compare

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/internal/target"
	"github.com/enclavepool/enclavepool/pool"
)

// The modes, in the order in which they are shown.
const (
	Dial        = "dial"         // a connection for each request
	Shared      = "shared"       // unary calls on one ClientConn for each enclave
	RoundRobin  = "roundrobin16" // unary calls on 16 ClientConns in turn
	PoolUnary   = "pool-unary"   // unary calls on pool.Conn
	PoolStreams = "pool-streams" // exchanges over pool.Streams
)

const roundRobinConns = 16

// dialMost is the greatest number of callers that Dial is measured with. With more it is the queue at the
// listener that would be measured, and the errors when that is full.
const dialMost = 64

// readyWithin bounds opening the connections of a mode.
const readyWithin = 10 * time.Second

// mode is a way to the enclaves that is open. It is safe for concurrent use.
type mode struct {
	name  string
	sign  func(ctx context.Context, t *task) ([]byte, error)
	dials func() uint64 // connections tried so far; nil: not known
	close func()
}

// openModes opens all of them for so many callers.
func openModes(ctx context.Context, places []place, callers int, timeout time.Duration) (modes []mode, err error) {
	defer func() {
		if err != nil {
			closeModes(modes)
			modes = nil
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if callers <= dialMost {
		modes = append(modes, dialEach(places))
	}
	for _, open := range []func() (mode, error){
		func() (mode, error) { return sharedConns(ctx, Shared, places, 1) },
		func() (mode, error) { return sharedConns(ctx, RoundRobin, places, roundRobinConns) },
		func() (mode, error) { return poolUnary(ctx, places) },
		func() (mode, error) { return poolStreams(ctx, places, timeout) },
	} {
		m, err := open()
		if err != nil {
			return modes, err
		}
		modes = append(modes, m)
	}
	return modes, nil
}

func closeModes(modes []mode) {
	for _, m := range modes {
		m.close()
	}
}

// connect returns a connection that is made when it is first used.
func connect(to target.Target) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+to.String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return to.Dial(ctx) }))
}

func unary(ctx context.Context, cc grpc.ClientConnInterface, t *task) ([]byte, error) {
	res, err := signerv1.NewSignerServiceClient(cc).Sign(ctx, &signerv1.SignRequest{KeyId: t.keyID, Digest: t.digest})
	return res.GetSignature(), err
}

func dialEach(places []place) mode {
	var dials atomic.Uint64
	return mode{name: Dial, dials: dials.Load, close: func() {}, sign: func(ctx context.Context, t *task) ([]byte, error) {
		cc, err := connect(places[t.enclave].parsed)
		if err != nil {
			return nil, err
		}
		defer cc.Close()
		dials.Add(1)
		return unary(ctx, cc, t)
	}}
}

func sharedConns(ctx context.Context, name string, places []place, each int) (mode, error) {
	conns := make([][]*grpc.ClientConn, len(places))
	m := mode{name: name, close: func() {
		for _, ccs := range conns {
			for _, cc := range ccs {
				cc.Close()
			}
		}
	}}
	for i, p := range places {
		for range each {
			cc, err := connect(p.parsed)
			if err == nil {
				conns[i] = append(conns[i], cc)
				err = ready(ctx, cc)
			}
			if err != nil {
				m.close()
				return mode{}, fmt.Errorf("%s: enclave %s: %w", name, p.id, err)
			}
		}
	}
	var turn atomic.Uint64
	m.sign = func(ctx context.Context, t *task) ([]byte, error) {
		ccs := conns[t.enclave]
		if len(ccs) == 1 {
			return unary(ctx, ccs[0], t)
		}
		return unary(ctx, ccs[turn.Add(1)%uint64(len(ccs))], t)
	}
	return m, nil
}

func ready(ctx context.Context, cc *grpc.ClientConn) error {
	cc.Connect()
	for s := cc.GetState(); s != connectivity.Ready; s = cc.GetState() {
		if !cc.WaitForStateChange(ctx, s) {
			return fmt.Errorf("still %v: %w", s, context.Cause(ctx))
		}
	}
	return nil
}

// openPool opens a pool with the default configuration.
func openPool(ctx context.Context, name string, places []place) (*pool.Pool, mode, error) {
	cfg := pool.DefaultConfig()
	for _, p := range places {
		cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: p.id, Target: p.target})
	}
	p, err := pool.New(cfg, pool.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, mode{}, fmt.Errorf("%s: %w", name, err)
	}
	m := mode{name: name, close: func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.Close(ctx) // nothing is measured any more
	}, dials: func() uint64 {
		var n uint64
		for _, e := range p.Stats().Enclaves {
			n += e.Dials
		}
		return n
	}}
	if err := p.Ready(ctx); err != nil {
		m.close()
		return nil, mode{}, fmt.Errorf("%s: %w", name, err)
	}
	return p, m, nil
}

func poolUnary(ctx context.Context, places []place) (mode, error) {
	p, m, err := openPool(ctx, PoolUnary, places)
	if err != nil {
		return m, err
	}
	var conns []grpc.ClientConnInterface
	for _, pl := range places {
		conns = append(conns, p.Conn(pl.id))
	}
	m.sign = func(ctx context.Context, t *task) ([]byte, error) { return unary(ctx, conns[t.enclave], t) }
	return m, nil
}
