package main

import (
	"context"
	"time"
)

// measurement is one section of the table, to be measured.
type measurement struct {
	title   string
	measure func(context.Context) (Section, error)
}

// plan is how much of everything there is.
type plan struct {
	conns      int           // connections of the pool
	rounds     int           // runs of package pool's benchmarks
	insideTurn time.Duration // each benchmark in one run
	turns      int           // of each contender, after each of those runs
	turn       time.Duration // short beside what the scheduler gives to others

	waiters, slots, waitRounds int
	waitTurn                   time.Duration

	callRounds, callsPerTurn int

	idleEnclaves, idleRounds int
	settle                   time.Duration // before each reading of idle memory

	callers, mixRounds int
	mixTurn            time.Duration
	pause              time.Duration // between a caller's calls, where it makes any
	slowEvery, bigSize int           // every n-th call is slow, with that many bytes each way

	crowds      []crowdPlan
	streamConns []int // connections of the pools that keep streams warm
}

// fullPlan takes about two and a half minutes on two busy cores.
func fullPlan() plan {
	return plan{
		conns: 32, rounds: 9, insideTurn: 100 * time.Millisecond, turns: 25, turn: 4 * time.Millisecond,
		waiters: 1000, slots: 32, waitRounds: 7, waitTurn: 500 * time.Millisecond,
		callRounds: 300, callsPerTurn: 50,
		idleEnclaves: 8, idleRounds: 3, settle: 730 * time.Millisecond,
		callers: 64, mixRounds: 7, mixTurn: time.Second, pause: 20 * time.Millisecond,
		slowEvery: 100, bigSize: 512 << 10,
		crowds: []crowdPlan{
			// In this order: streams that a bigger crowd has left open would gather
			// a smaller one on few connections, where writes are fuller.
			{callers: 1, rounds: 5, turn: 500 * time.Millisecond},
			{callers: 64, rounds: 5, turn: 500 * time.Millisecond},
			{callers: 500, rounds: 7, turn: 800 * time.Millisecond, goals: true},
		},
		streamConns: []int{4, 16},
	}
}

func measurements(p plan) []measurement {
	return []measurement{
		{"take a slot and give it back", p.admission},
		{"what metrics add to taking a slot", p.metrics},
		{"1000 callers, 32 slots", p.contention},
		{"a unary call of 32 bytes, one after another", p.calls},
		{"an idle connection, client side", p.idle},
		{"fast calls among slow ones", p.busyMix},
		{"fast calls among slow ones, callers that pause", p.pausedMix},
		{"Sign over warm streams", p.warmStreams},
		{"an enclave for a key", p.routing},
	}
}
