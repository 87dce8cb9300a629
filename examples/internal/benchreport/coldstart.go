package benchreport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/internal/target"
	"github.com/enclavepool/enclavepool/pool"
)

// Starts are latencies of single Sign calls, one at a time, straight to one enclave: what a
// connection set-up adds when a call contains one.
type Starts struct {
	// Dial is a call on a connection made for it, as without a pool.
	Dial Spread `json:"dial_per_request"`
	// Cold is the first call on a pool that is Ready; Ready how long that took.
	Cold  Spread `json:"first_call_of_a_pool"`
	Ready Spread `json:"pool_ready"`
	// Steady are calls on a pool that has been used before.
	Steady Spread `json:"steady"`
}

// Spread is the median of some durations, with the 99th percentile and the greatest.
type Spread struct {
	N      int           `json:"n"`
	Median time.Duration `json:"median_ns"`
	P99    time.Duration `json:"p99_ns"`
	Worst  time.Duration `json:"worst_ns"`
}

func spread(all []time.Duration) Spread {
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[min(len(all)-1, int(q*float64(len(all))))] }
	return Spread{len(all), at(0.5), at(0.99), all[len(all)-1]}
}

// How many there are of each.
const (
	coldRounds  = 20
	singleCalls = 500
)

func (cfg Config) coldStarts(ctx context.Context) (*Starts, error) {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	e := stack.NewEnclave(cfg.Programs["enclave"], dir, enclaves[0], cfg.Transport)
	if err := e.Start(ctx); err != nil {
		return nil, err
	}
	defer e.Kill()
	to, err := target.Parse(e.Target)
	if err != nil {
		return nil, err
	}
	const key = "cold"
	connect := func() (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///"+to.String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return to.Dial(ctx) }))
	}
	dial := func() (time.Duration, error) {
		began := time.Now()
		cc, err := connect()
		if err != nil {
			return 0, err
		}
		defer cc.Close()
		return took(began, sign(ctx, cc, key))
	}
	cc, err := connect()
	if err != nil {
		return nil, err
	}
	_, err = signerv1.NewSignerServiceClient(cc).Create(ctx, &signerv1.CreateRequest{KeyId: key})
	if err := errors.Join(err, cc.Close()); err != nil {
		return nil, err
	}
	var dials, ready, cold, steady []time.Duration
	for range singleCalls {
		d, err := dial()
		if err != nil {
			return nil, fmt.Errorf("a connection for one call: %w", err)
		}
		dials = append(dials, d)
	}
	pc := pool.DefaultConfig()
	pc.Enclaves = []pool.Enclave{{ID: e.ID, Target: e.Target}}
	for i := range coldRounds {
		began := time.Now()
		p, err := pool.New(pc, pool.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			return nil, err
		}
		if err := p.Ready(ctx); err != nil {
			return nil, errors.Join(err, p.Close(ctx))
		}
		ready = append(ready, time.Since(began))
		began = time.Now()
		first, err := took(began, sign(ctx, p.Conn(e.ID), key))
		cold = append(cold, first)
		for i == coldRounds-1 && err == nil && len(steady) < singleCalls {
			var d time.Duration
			d, err = took(time.Now(), sign(ctx, p.Conn(e.ID), key))
			steady = append(steady, d)
		}
		if err := errors.Join(err, p.Close(ctx)); err != nil {
			return nil, fmt.Errorf("the pool: %w", err)
		}
	}
	return &Starts{Dial: spread(dials), Ready: spread(ready), Cold: spread(cold), Steady: spread(steady)}, nil
}

func took(began time.Time, err error) (time.Duration, error) { return time.Since(began), err }

func sign(ctx context.Context, cc grpc.ClientConnInterface, key string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := signerv1.NewSignerServiceClient(cc).Sign(ctx, &signerv1.SignRequest{KeyId: key, Digest: make([]byte, 32)})
	return err
}
