package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// crowdPlan is how long so many callers exchange, how often.
type crowdPlan struct {
	callers, rounds int
	turn            time.Duration
	goals           bool // its rows have them
}

func (c crowdPlan) String() string {
	if c.callers == 1 {
		return "1 caller"
	}
	return fmt.Sprintf("%d callers", c.callers)
}

// The participants that others are compared with; the pool's come after them.
const (
	unaryWay = iota
	socketsWay
	ownStreamsWay
)

// warmStreams has callers send a digest and wait for its echo, over and over:
// what Sign is apart from the signing.
func (p plan) warmStreams(ctx context.Context) (Section, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the streams and sockets
	defer cancel()
	srv, err := startServer(ctx)
	if err != nil {
		return Section{}, err
	}
	defer srv.stop()
	raw, err := startRole(ctx, "raw")
	if err != nil {
		return Section{}, err
	}
	defer raw.stop()
	var ccs []grpc.ClientConnInterface
	for range 5 {
		cc, err := openRaw(ctx, srv.target)
		if err != nil {
			return Section{}, err
		}
		defer cc.Close()
		ccs = append(ccs, cc)
	}
	ways := []exchangeWay{
		unaryWay:      {"gRPC unary, one ClientConn", srv, viaUnary(ccs[0])},
		socketsWay:    {"raw Unix sockets, one each", raw, viaSockets(raw.target)},
		ownStreamsWay: {"gRPC streams, one each, 4 connections", srv, viaOwnStreams(ccs[1:])},
	}
	for _, conns := range p.streamConns {
		pl, closePool, err := openPool(ctx, srv.target, 1, conns, 1000)
		if err != nil {
			return Section{}, err
		}
		defer closePool()
		ways = append(ways, exchangeWay{fmt.Sprintf("warm streams, %d connections", conns), srv, viaWarmStreams(pool.NewStreams(pl, pooltest.OpenExchange))})
	}
	var all Section
	for _, c := range p.crowds {
		rows, err := c.measure(ctx, ways)
		if err != nil {
			return Section{}, err
		}
		all.Rows = append(all.Rows, rows...)
		all.Notes = append(all.Notes, fmt.Sprintf("%v: %d turns of %v for each way", c, c.rounds, c.turn))
	}
	all.Notes = append(all.Notes, "streams are opened as callers need them; 32 bytes each way, every echo checked; server in another process, Unix sockets; CPU is that of both processes, per exchange",
		"a bare digest on a stream: the messages and deadlines of a signer cost more, see loadgen -compare in examples")
	return all, nil
}

// measure has the crowd use each of the ways in turns.
func (c crowdPlan) measure(ctx context.Context, ways []exchangeWay) ([]Row, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p50, p99, cpu := make([][]float64, len(ways)), make([][]float64, len(ways)), make([][]float64, len(ways))
	times := make([][]float64, c.callers) // kept, so that the turns do not allocate
	var turns []func() (float64, error)
	for i, w := range ways {
		calls, err := w.open(ctx, c.callers)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		turns = append(turns, func() (float64, error) {
			before, err1 := w.from.cpuTime()
			own := cpuTime()
			rate, err2 := c.exchange(ctx, calls, times)
			own = cpuTime() - own
			after, err3 := w.from.cpuTime()
			if err := errors.Join(err1, err2, err3); err != nil {
				return 0, fmt.Errorf("%s: %w", w.name, err)
			}
			var sorted []float64
			for _, t := range times {
				sorted = append(sorted, t...)
			}
			p50[i], p99[i] = append(p50[i], quantile(sorted, 0.5)), append(p99[i], quantile(sorted, 0.99))
			cpu[i] = append(cpu[i], float64(own+after-before)/1e3/float64(len(sorted)))
			return rate, nil
		})
	}
	if _, err := inTurns(1, turns...); err != nil { // warm up
		return nil, err
	}
	clear(p50)
	clear(p99)
	clear(cpu)
	rates, err := inTurns(c.rounds, turns...)
	if err != nil {
		return nil, err
	}
	return c.rows(ways, rates, p50, p99, cpu), nil
}

// exchange is one turn; it returns the exchanges per second, and in times the
// ms that each took.
func (c crowdPlan) exchange(ctx context.Context, calls []exchanger, times [][]float64) (float64, error) {
	var failed atomic.Pointer[error]
	start := time.Now()
	var wg sync.WaitGroup
	for i, call := range calls {
		wg.Go(func() {
			// Of its own, as a request has it, but made beforehand.
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			t := times[i][:0]
			for began := time.Now(); began.Sub(start) < c.turn && failed.Load() == nil; {
				if err := call(ctx); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				now := time.Now()
				t = append(t, float64(now.Sub(began))/1e6)
				began = now
			}
			times[i] = t
		})
	}
	wg.Wait()
	took := time.Since(start)
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	n := 0
	for _, t := range times {
		n += len(t)
	}
	return float64(n) / took.Seconds(), nil
}

func (c crowdPlan) rows(ways []exchangeWay, rates, p50, p99, cpu [][]float64) []Row {
	var rows []Row
	name := func(i int, of string) string { return c.String() + ", " + ways[i].name + of }
	held := func(i int) bool { return c.goals && i > ownStreamsWay }
	for i := range ways {
		row := result(name(i, ""), "/s", rates[i], rates[unaryWay]).to("unary")
		if held(i) {
			row = row.atLeast("ratio", 4)
		}
		rows = append(rows, row)
	}
	for i := range ways {
		if i > socketsWay {
			row := result(name(i, ""), "/s", rates[i], rates[socketsWay]).to("raw sockets")
			if held(i) {
				row = row.atLeast("ratio", 1)
			}
			rows = append(rows, row)
		}
	}
	for i := range ways {
		rows = append(rows, result(name(i, ", p50"), "ms", p50[i], p50[unaryWay]).to("unary"))
		row := result(name(i, ", p99"), "ms", p99[i], p99[unaryWay]).to("unary")
		if held(i) {
			row = row.atMost("ratio", 0.5)
		}
		rows = append(rows, row)
	}
	for i := range ways {
		if cpuTime() > 0 {
			rows = append(rows, result(name(i, ", CPU"), "µs", cpu[i], cpu[unaryWay]).to("unary"))
		}
	}
	return rows
}
