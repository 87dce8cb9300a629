package main

import (
	"context"
	"fmt"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// calls makes the same call through the pool and on a plain ClientConn.
func (p plan) calls(ctx context.Context) (Section, error) {
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
	one, closeOne, err := openPool(ctx, srv.target, 1, 1, 100)
	if err != nil {
		return Section{}, err
	}
	defer closeOne()
	sixteen, closeSixteen, err := openPool(ctx, srv.target, 1, 16, 100)
	if err != nil {
		return Section{}, err
	}
	defer closeSixteen()

	// One deadline for all, so that nobody has to make one for each call.
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	request := payload(32)
	names := []string{"gRPC, one ClientConn", "pool, one connection", "pool, 16 connections"}
	clients := []testpb.TestServiceClient{
		testpb.NewTestServiceClient(raw),
		testpb.NewTestServiceClient(one.Conn(enclaveID)),
		testpb.NewTestServiceClient(sixteen.Conn(enclaveID)),
	}
	cpu := make([][]float64, len(clients))
	var turns []func() (float64, error)
	for i, c := range clients {
		turns = append(turns, func() (float64, error) {
			start, cpuStart := time.Now(), cpuTime()
			for range p.callsPerTurn {
				if _, err := c.UnaryCall(ctx, request); err != nil {
					return 0, err
				}
			}
			perCall := func(d time.Duration) float64 { return float64(d) / 1e3 / float64(p.callsPerTurn) }
			cpu[i] = append(cpu[i], perCall(cpuTime()-cpuStart))
			return perCall(time.Since(start)), nil
		})
	}
	if _, err := inTurns(min(5, p.callRounds), turns...); err != nil { // warm up
		return Section{}, err
	}
	cpu = make([][]float64, len(clients))
	times, err := inTurns(p.callRounds, turns...)
	if err != nil {
		return Section{}, err
	}
	var rows []Row
	for i, name := range names {
		row := result(name, "µs", times[i], times[0]).to("the ClientConn")
		if i == 1 {
			row = row.atMost("ratio", 1.02)
		}
		rows = append(rows, row)
	}
	for i, name := range names {
		if cpuTime() > 0 {
			rows = append(rows, result(name+", client's CPU", "µs", cpu[i], cpu[0]).to("the ClientConn"))
		}
	}
	for i, name := range names {
		allocs, err := allocationRows(name, func(n int) error {
			for range n {
				if _, err := clients[i].UnaryCall(ctx, request); err != nil {
					return err
				}
			}
			return nil
		}, p.callsPerTurn)
		if err != nil {
			return Section{}, err
		}
		rows = append(rows, allocs...)
	}
	return Section{Rows: rows, Notes: []string{
		fmt.Sprintf("server in another process, Unix socket; %d turns of %d calls each; allocations are the client's alone", p.callRounds, p.callsPerTurn),
	}}, nil
}
