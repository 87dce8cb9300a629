package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

func TestMetricsHaveTheirNamesAndActiveConnsFollowsTheEnclave(t *testing.T) {
	const calls = 7
	st := launch(t, 2, stack.Conns)
	c := dial(t, st)
	key := keyOn(t, st, c, "a")
	before := metric(t, st, "pool_acquire_latency_ms_count", "a")
	resets := metric(t, st, "grpc_stream_resets_total", "a") // of checks that took too long while connecting, if any
	var slowest time.Duration
	for i := range calls {
		began := time.Now()
		if err := sign(limited(t), c, key, digest(byte(i))); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(began))
	}
	if got := metric(t, st, "pool_acquire_latency_ms_count", "a") - before; got != calls {
		t.Errorf("pool_acquire_latency_ms_count grew by %v in %d calls", got, calls)
	}
	if got := metric(t, st, "grpc_stream_resets_total", "a") - resets; got != 0 && !starved(slowest) {
		t.Errorf("%v stream resets in %d calls", got, calls)
	}

	m, err := st.Gateway.Metrics(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // name: labels
		"active_conns":                   "enclave_id",
		"grpc_stream_resets_total":       "code enclave_id",
		"pool_acquire_latency_ms_bucket": "enclave_id le",
		"pool_acquire_latency_ms_sum":    "enclave_id",
		"pool_acquire_latency_ms_count":  "enclave_id",
	}
	var bounds []string
	for _, s := range m {
		labels, promised := want[s.Name]
		similar := strings.Contains(s.Name, "active_conns") || strings.Contains(s.Name, "stream_resets") || strings.Contains(s.Name, "acquire_latency")
		if similar && !promised {
			t.Errorf("%s is nearly a name that was promised", s.Name)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(s.Labels)), " "); promised && got != labels {
			t.Errorf("%s has labels %s, want %s", s.Name, got, labels)
		}
		if s.Name == "pool_acquire_latency_ms_bucket" && s.Labels["enclave_id"] == "a" {
			bounds = append(bounds, s.Labels["le"])
		}
	}
	for name := range want {
		if _, ok := m.Of(name, "a"); !ok {
			t.Errorf("no %s of enclave a", name)
		}
	}
	if got := strings.Join(bounds, " "); got != "0.05 0.1 0.2 0.5 1 2 5 10 20 50 100 200 500 +Inf" {
		t.Errorf("buckets %s, want them from 50 µs to 500 ms", got)
	}

	for _, id := range []string{"a", "b"} {
		eventually(t, "active_conns of "+id, func(context.Context) error { // at once, unless the machine is a slow one
			if n := metric(t, st, "active_conns", id); n != stack.Conns {
				return fmt.Errorf("%v, want %d", n, stack.Conns)
			}
			return nil
		})
	}
	st.Enclaves[0].Kill()
	awaitConns(t, st, "a", 0)
	if n := metric(t, st, "active_conns", "b"); n < stack.Conns/2 { // a slow machine may be replacing some
		t.Errorf("b has %v active connections after a died, want %d", n, stack.Conns)
	}
	awaitConns(t, st, "b", stack.Conns)
	if err := st.Enclaves[0].Start(limited(t)); err != nil {
		t.Fatal(err)
	}
	awaitConns(t, st, "a", stack.Conns)
}
