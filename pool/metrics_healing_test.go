package pool_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// byResult returns the values of a counter with the attribute result.
func byResult(t *testing.T, a metricdata.Aggregation) map[string]int64 {
	t.Helper()
	sum, ok := a.(metricdata.Sum[int64])
	if !ok {
		t.Fatalf("it is %T, want a counter", a)
	}
	values := map[string]int64{}
	for _, p := range sum.DataPoints {
		result, _ := p.Attributes.Value("result")
		values[result.AsString()] = p.Value
	}
	return values
}

func TestTheMetricsCountAttemptsProbesEjectionsAndRecoveries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		option, collect := meters(t)
		p, e := memoryPool(t, &service{}, nil, option)
		time.Sleep(10 * time.Second)
		m := collect()
		if got := byResult(t, m["pool_dials"]); got["connected"] != 2 || got["failed"] != 0 || got["timed_out"] != 0 {
			t.Errorf("pool_dials %v, want 2 connected", got)
		}
		if got := byResult(t, m["pool_probes"]); got["serving"] < 10 || got["timed_out"] != 0 {
			t.Errorf("after ten idle seconds pool_probes %v", got)
		}

		e.Stop()
		time.Sleep(400 * time.Millisecond)
		e.Restart()
		ready(t, p)
		synctest.Wait()
		m = collect()
		if got := byResult(t, m["pool_dials"]); got["connected"] != 4 || got["failed"] < 5 {
			t.Errorf("after a restart pool_dials %v, want 4 connected and some failed", got)
		}
		h := m["pool_recovery_duration_ms"].(metricdata.Histogram[float64]).DataPoints[0]
		if h.Count != 1 || h.Sum < 400 || h.Sum > 650 {
			t.Errorf("%d recoveries, %v ms in all; want one, of 400 and at most one backoff", h.Count, h.Sum)
		}

		e.Freeze()
		time.Sleep(5 * time.Second)
		m = collect()
		if got := byResult(t, m["pool_probes"]); got["timed_out"] != 6 {
			t.Errorf("after a freeze pool_probes %v, want 3 timed out for each of 2 connections", got)
		}
		if got := byResult(t, m["pool_dials"]); got["timed_out"] < 5 {
			t.Errorf("after a freeze pool_dials %v", got)
		}
		if got := of(t, "a", m["pool_ejections"].(metricdata.Sum[int64]).DataPoints, number).Value; got != 2 {
			t.Errorf("pool_ejections %d, want 2", got)
		}
		e.Thaw()
	})
}
