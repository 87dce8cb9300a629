package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// busyMix keeps every core busy, so that a call waits for the machine as well.
func (p plan) busyMix(ctx context.Context) (Section, error) { return p.headOfLine(ctx, 0) }

// pausedMix leaves cores free: what a fast call then waits for is the connection.
func (p plan) pausedMix(ctx context.Context) (Section, error) { return p.headOfLine(ctx, p.pause) }

// headOfLine has callers that call again when they are answered and have
// paused. Their calls are small but for one in slowEvery, which is big and
// slow. What counts is how long the small ones take.
func (p plan) headOfLine(ctx context.Context, pause time.Duration) (Section, error) {
	srv, err := startServer(ctx)
	if err != nil {
		return Section{}, err
	}
	defer srv.stop()
	raw, err := openRaw(ctx, srv.target)
	if err != nil {
		return Section{}, err
	}
	defer raw.Close()
	ours, closePool, err := openPool(ctx, srv.target, 1, 16, 100)
	if err != nil {
		return Section{}, err
	}
	defer closePool()

	channels := []grpc.ClientConnInterface{raw, ours.Conn(enclaveID)}
	p99, rate := make([][]float64, len(channels)), make([][]float64, len(channels))
	var turns []func() (float64, error)
	for i, cc := range channels {
		turns = append(turns, func() (float64, error) {
			m, err := p.mix(ctx, cc, pause)
			if err != nil {
				return 0, err
			}
			p99[i] = append(p99[i], quantile(m.fast, 0.99))
			rate[i] = append(rate[i], float64(len(m.fast))/m.took.Seconds())
			return quantile(m.fast, 0.5), nil
		})
	}
	p50, err := inTurns(p.mixRounds, turns...)
	if err != nil {
		return Section{}, err
	}
	const base = "the ClientConn"
	var rows []Row
	for i, name := range []string{"gRPC, one ClientConn", "pool, 16 connections"} {
		rows = append(rows,
			result(name+", p50 of the fast", "ms", p50[i], p50[0]).to(base),
			result(name+", p99 of the fast", "ms", p99[i], p99[0]).to(base),
			result(name+", fast calls", "/s", rate[i], rate[0]).to(base))
	}
	return Section{Rows: rows, Notes: []string{
		fmt.Sprintf("%d callers that pause for %v between calls, server in another process; one call in %d echoes %d KiB after %v, the others 32 bytes at once",
			p.callers, pause, p.slowEvery, p.bigSize>>10, slowTime),
	}}, nil
}

type mixed struct {
	fast []float64 // ms that each fast call took
	took time.Duration
}

func (p plan) mix(ctx context.Context, cc grpc.ClientConnInterface, pause time.Duration) (mixed, error) {
	client := testpb.NewTestServiceClient(cc)
	small, big := payload(32), payload(p.bigSize)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	times := make([][]float64, p.callers)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range p.callers {
		wg.Go(func() {
			// The callers' big calls are spread over the time.
			for n := i * p.slowEvery / p.callers; time.Since(start) < p.mixTurn && ctx.Err() == nil; n++ {
				request := small
				if n%p.slowEvery == p.slowEvery-1 {
					request = big
				}
				began := time.Now()
				if _, err := client.UnaryCall(ctx, request); err != nil {
					cancel(fmt.Errorf("call: %w", err))
				}
				if request == small {
					times[i] = append(times[i], float64(time.Since(began))/1e6)
				}
				if pause > 0 {
					time.Sleep(pause)
				}
			}
		})
	}
	wg.Wait()
	m := mixed{took: time.Since(start)}
	for _, t := range times {
		m.fast = append(m.fast, t...)
	}
	if len(m.fast) == 0 && ctx.Err() == nil {
		return m, errors.New("not one fast call was made")
	}
	return m, context.Cause(ctx)
}
