package main

import (
	"context"
	"fmt"
)

const parallel = 16 // goroutines

// admission measures taking a slot and giving it back: in one goroutine beside
// an atomic addition, then in 16 beside one.
func (p plan) admission(ctx context.Context) (Section, error) {
	tests, err := buildPoolTests(ctx)
	if err != nil {
		return Section{}, err
	}
	defer tests.remove()
	contenders, closeAll, err := p.contenders(ctx)
	if err != nil {
		return Section{}, err
	}
	defer closeAll()

	inside, insideAllocs := map[string][]float64{}, []float64{}
	serial, many := make([][]float64, len(contenders)), make([][]float64, len(contenders))
	turns, err := p.admissionTurns(ctx, contenders)
	if err != nil {
		return Section{}, err
	}
	// The machine changes within the second that the benchmarks of package pool
	// take, so the others have their turns before and after each of its runs.
	for range p.rounds {
		got, err := tests.run(ctx, "^Benchmark(AtomicFloor|ReserveRelease)$", p.insideTurn)
		if err != nil {
			return Section{}, err
		}
		for _, name := range []string{insideFloor, insideSerial, insideParallel} {
			if got[name]["ns/op"] == 0 {
				return Section{}, fmt.Errorf("package pool has no benchmark %s any more", name)
			}
			inside[name] = append(inside[name], got[name]["ns/op"])
		}
		insideAllocs = append(insideAllocs, got[insideSerial]["allocs/op"])
		times, err := inTurns(p.turns, turns...)
		if err != nil {
			return Section{}, err
		}
		for i := range contenders {
			serial[i] = append(serial[i], times[2*i]...)
			many[i] = append(many[i], times[2*i+1]...)
		}
	}

	const floor, own = "the atomic", "its one goroutine"
	in16 := fmt.Sprintf(", %d goroutines", parallel)
	const poolInside = "pool, reserve + release"
	rows := []Row{result(poolInside, "ns", inside[insideSerial], inside[insideFloor]).to(floor).atMost("ratio", 1.7)}
	for i, c := range contenders {
		row := result(c.name, "ns", serial[i], serial[0]).to(floor)
		if i == poolIndex {
			row = row.atMost("ratio", 3)
		}
		rows = append(rows, row)
	}
	rows = append(rows, result(poolInside+in16, "ns", inside[insideParallel], inside[insideSerial]).to(own).atMost("ratio", 1))
	for i, c := range contenders {
		if c.floor {
			continue
		}
		row := result(c.name+in16, "ns", many[i], serial[i]).to(own)
		if i == poolIndex {
			row = row.atMost("ratio", 1)
		}
		rows = append(rows, row)
	}
	rows = append(rows, result(poolInside, "allocs", insideAllocs, nil).atMost("value", 0))
	for i, c := range contenders[1:] {
		if c.floor {
			continue
		}
		allocs, err := allocationRows(c.name, c.loop, 10_000)
		if err != nil {
			return Section{}, err
		}
		if i+1 == poolIndex {
			allocs[0] = allocs[0].atMost("value", 1)
		}
		rows = append(rows, allocs...)
	}
	return Section{Rows: rows, Notes: []string{
		fmt.Sprintf("pool: %d connections to an echo server in another process; the peers have %d members and nothing behind them", p.conns, p.conns),
		"reserve + release: package pool's own benchmark in a process of its own, beside the atomic in that process",
		"grpc-gcp: Pick and Done of its balancer's picker outside gRPC, so without the rest of a call's way to a connection",
		fmt.Sprintf("package pool's: %d runs of %v; the others: %d turns of %v", p.rounds, p.insideTurn, p.rounds*p.turns, p.turn),
		"ns is time on the clock per operation, whatever the number of goroutines",
	}}, nil
}

// admissionTurns are two for each contender: one goroutine, and many.
func (p plan) admissionTurns(ctx context.Context, contenders []contender) (turns []func() (float64, error), err error) {
	for _, c := range contenders {
		for _, l := range []loop{c.loop, c.loop.spread(parallel)} {
			n, err := l.lasting(p.turn)
			if err != nil {
				return nil, err
			}
			turns = append(turns, func() (float64, error) {
				if err := ctx.Err(); err != nil {
					return 0, err
				}
				return l.timed(n)
			})
		}
	}
	return turns, nil
}

// Benchmarks of package pool.
const (
	insideFloor    = "AtomicFloor"
	insideSerial   = "ReserveRelease/serial"
	insideParallel = "ReserveRelease/goroutines=16"
)

// poolIndex is the pool's place among the contenders; the floor is the first.
const poolIndex = 1

func (p plan) contenders(ctx context.Context) (cs []contender, closeAll func(), err error) {
	gcp, err := gcpPicker(p.conns)
	if err != nil {
		return nil, nil, err
	}
	puddles, err := newPuddle(p.conns)
	if err != nil {
		return nil, nil, err
	}
	srv, err := startServer(ctx)
	if err != nil {
		puddles.Close()
		return nil, nil, err
	}
	ours, closePool, err := openPool(ctx, srv.target, 1, p.conns, 100)
	if err != nil {
		puddles.Close()
		srv.stop()
		return nil, nil, err
	}
	return []contender{atomicFloor(), acquireByID(ours), leaseFloor(), allocationFloor(),
			channelPool(p.conns), puddleContender(puddles), gcp},
		func() { closePool(); puddles.Close(); srv.stop() }, nil
}
