package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// poolTests is package pool's test binary: reserving without a lease around it
// is not public, so only the package's own benchmarks reach it.
type poolTests struct {
	binary string
	remove func()
}

const library = "github.com/enclavepool/enclavepool"

// buildPoolTests needs the go command, and a working directory inside this
// module.
func buildPoolTests(ctx context.Context) (*poolTests, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	t := &poolTests{filepath.Join(dir, "pool.test"), func() { os.RemoveAll(dir) }}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", library).Output()
	if err == nil {
		build := exec.CommandContext(ctx, "go", "test", "-c", "-o", t.binary, "./pool")
		build.Dir = strings.TrimSpace(string(root))
		var out []byte
		if out, err = build.CombinedOutput(); err != nil {
			err = fmt.Errorf("%w:\n%s", err, out)
		}
	}
	if err != nil {
		t.remove()
		return nil, fmt.Errorf("build the benchmarks of package pool: %w", err)
	}
	return t, nil
}

// benchmarks are results by name (without "Benchmark" and without the "-N" of
// GOMAXPROCS) and unit, such as "ns/op".
type benchmarks map[string]map[string]float64

// run runs benchmarks once.
func (t *poolTests) run(ctx context.Context, pattern string, d time.Duration) (benchmarks, error) {
	cmd := exec.CommandContext(ctx, t.binary, "-test.run=^$", "-test.bench="+pattern,
		"-test.benchmem", "-test.benchtime="+d.String(), "-test.cpu="+strconv.Itoa(runtime.GOMAXPROCS(0)))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("benchmarks of package pool: %w:\n%s", err, out)
	}
	return parseBenchmarks(string(out))
}

// parseBenchmarks reads what "go test -bench" prints.
func parseBenchmarks(output string) (benchmarks, error) {
	results := benchmarks{}
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i >= 0 {
			if _, err := strconv.Atoi(name[i+1:]); err == nil {
				name = name[:i]
			}
		}
		results[name] = map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("benchmark line %q: %w", strings.TrimSpace(line), err)
			}
			results[name][fields[i+1]] = v
		}
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("no benchmark result in %q", output)
	}
	return results, nil
}
