package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

// footprint is what one idle connection costs the client.
type footprint struct {
	InUseKiB, StackKiB, LiveKiB, Goroutines float64
}

// idle asks a fresh client process, in turns of the pool and of a ClientConn
// for each connection. The server is in another process.
func (p plan) idle(ctx context.Context) (Section, error) {
	srv, err := startServer(ctx)
	if err != nil {
		return Section{}, err
	}
	defer srv.stop()
	kinds := []string{"raw", "pool"}
	var all [2][]footprint
	var turns []func() (float64, error)
	for i, kind := range kinds {
		turns = append(turns, func() (float64, error) {
			cmd, err := asRole(ctx, "idle", kind, srv.target, p.idleEnclaves, p.conns, p.settle)
			if err != nil {
				return 0, err
			}
			out, err := cmd.Output()
			if err != nil {
				return 0, fmt.Errorf("client process: %w", err)
			}
			var f footprint
			if err := json.Unmarshal(out, &f); err != nil {
				return 0, fmt.Errorf("client process said %q: %w", out, err)
			}
			all[i] = append(all[i], f)
			return 0, nil
		})
	}
	if _, err := inTurns(p.idleRounds, turns...); err != nil {
		return Section{}, err
	}
	const base = "the ClientConns"
	names := []string{"gRPC, a ClientConn each", "pool"}
	var rows []Row
	for _, cost := range []struct {
		what, unit string
		of         func(footprint) float64
		goal       float64
	}{
		{"heap in use + stacks", "KiB", func(f footprint) float64 { return f.InUseKiB }, 20},
		{"of that, stacks", "KiB", func(f footprint) float64 { return f.StackKiB }, 0},
		{"live objects on the heap", "KiB", func(f footprint) float64 { return f.LiveKiB }, 0},
		{"goroutines", "", func(f footprint) float64 { return f.Goroutines }, 3.1},
	} {
		var values [2][]float64
		for i := range kinds {
			for _, f := range all[i] {
				values[i] = append(values[i], cost.of(f))
			}
			row := result(names[i]+", "+cost.what, cost.unit, values[i], values[0]).to(base)
			if kinds[i] == "pool" && cost.goal > 0 {
				row = row.atMost("value", cost.goal)
			}
			rows = append(rows, row)
		}
	}
	return Section{Rows: rows, Notes: []string{
		fmt.Sprintf("%d × %d connections, both with keepalive 30s, growth since before, per connection; median of %d readings %v apart, each after garbage collections",
			p.idleEnclaves, p.conns, idleReadings, p.settle),
	}}, nil
}

// holdIdle is the role "idle KIND TARGET ENCLAVES CONNS SETTLE": it opens
// connections, leaves them alone, and prints what each costs.
func holdIdle(words []string) error {
	if len(words) != 5 {
		return errors.New("want kind, target, enclaves, connections and a time")
	}
	kind, target := words[0], words[1]
	enclaves, err1 := strconv.Atoi(words[2])
	conns, err2 := strconv.Atoi(words[3])
	settle, err3 := time.ParseDuration(words[4])
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	ctx := context.Background()
	// What the first connection makes once for all stays out of the count.
	warm, err := openRaw(ctx, target)
	if err != nil {
		return err
	}
	before, goroutines := memory(), runtime.NumGoroutine()
	switch kind {
	case "pool":
		_, closePool, err := openPool(ctx, target, enclaves, conns, 100)
		if err != nil {
			return err
		}
		defer closePool()
	case "raw":
		for range enclaves * conns {
			cc, err := openRaw(ctx, target)
			if err != nil {
				return err
			}
			defer cc.Close()
		}
	default:
		return fmt.Errorf("kind %q: want pool or raw", kind)
	}
	n := float64(enclaves * conns)
	var inUse, stacks, live, running []float64
	for range idleReadings {
		// Probes of connections that were opened together come together: no
		// single reading is to decide.
		time.Sleep(settle)
		after := memory()
		inUse = append(inUse, float64(after.HeapInuse+after.StackInuse)-float64(before.HeapInuse+before.StackInuse))
		stacks = append(stacks, float64(after.StackInuse)-float64(before.StackInuse))
		live = append(live, float64(after.HeapAlloc)-float64(before.HeapAlloc))
		running = append(running, float64(runtime.NumGoroutine()-goroutines))
	}
	err = json.NewEncoder(os.Stdout).Encode(footprint{
		InUseKiB:   median(inUse) / n / 1024,
		StackKiB:   median(stacks) / n / 1024,
		LiveKiB:    median(live) / n / 1024,
		Goroutines: median(running) / n,
	})
	return errors.Join(err, warm.Close())
}

const idleReadings = 5

// memory reads the statistics after several collections: sync.Pools keep what
// they have over the first, and each one halves stacks that are mostly empty,
// as would happen to a process that is idle for long.
func memory() runtime.MemStats {
	for range 5 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m
}
