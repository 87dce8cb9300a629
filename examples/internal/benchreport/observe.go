package benchreport

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/procfs"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

// Sample is what the gateway's /metrics and the processes showed at one time.
type Sample struct {
	// At is the time since the load's start; negative: before.
	At time.Duration `json:"at_ns"`
	// Conns are active_conns by enclave.
	Conns map[string]int `json:"conns"`
	// Exhausted tells whether conn_pool_state said so of an enclave.
	Exhausted bool `json:"exhausted,omitempty"`
	// Counters since the gateway's start, over all enclaves.
	Dials      uint64 `json:"dials"`
	Resets     uint64 `json:"resets"`
	TurnedAway uint64 `json:"turned_away"`
	Goroutines int    `json:"goroutines"`
	// Processes are by name; empty where there is no /proc.
	Processes map[string]Usage `json:"processes,omitempty"`

	acquire Buckets
}

// Usage is what a process has used.
type Usage struct {
	CPU    float64 `json:"cpu_s"`     // seconds since its start
	Memory int     `json:"rss_bytes"` // resident
}

// Buckets are the cumulative counts of pool_acquire_latency_ms, by upper bound in
// milliseconds; the last is +Inf.
type Buckets map[float64]float64

// minus returns what has been counted since b.
func (a Buckets) minus(b Buckets) Buckets {
	out := maps.Clone(a)
	for le := range out {
		out[le] -= b[le]
	}
	return out
}

// percentile returns the upper bound of the bucket that the quantile q lies in, and how
// many there are in all.
func (a Buckets) percentile(q float64) (ms, total float64) {
	bounds := slices.Sorted(maps.Keys(a))
	if len(bounds) == 0 {
		return 0, 0
	}
	total = a[bounds[len(bounds)-1]]
	for _, le := range bounds {
		if a[le] >= q*total {
			return le, total
		}
	}
	return bounds[len(bounds)-1], total
}

// observer takes samples while a load runs.
type observer struct {
	gateway *stack.Gateway
	began   time.Time
	pids    sync.Map // of the processes, by name
	samples []Sample
	err     error // of the latest sample that failed
}

func newObserver(s *stack.Stack) *observer {
	o := &observer{gateway: s.Gateway, began: time.Now()}
	o.pids.Store("gateway", s.Gateway.PID())
	for _, e := range s.Enclaves {
		o.is(e)
	}
	return o
}

// is notes which process an enclave is.
func (o *observer) is(e *stack.Enclave) { o.pids.Store("enclave "+e.ID, e.PID()) }

// sample takes one. A gateway that does not answer is missing from the plot, not a
// reason to end the run.
func (o *observer) sample(ctx context.Context) {
	m, err := o.gateway.Metrics(ctx)
	if err != nil {
		o.err = err
		return
	}
	s := Sample{At: time.Since(o.began), Conns: map[string]int{}, Processes: map[string]Usage{}, acquire: Buckets{}}
	for _, line := range m {
		switch line.Name {
		case "active_conns":
			s.Conns[line.Labels["enclave_id"]] = int(line.Value)
		case "conn_pool_state":
			s.Exhausted = s.Exhausted || line.Labels["state"] == "exhausted" && line.Value > 0
		case "pool_dials_total":
			s.Dials += uint64(line.Value)
		case "grpc_stream_resets_total":
			s.Resets += uint64(line.Value)
		case "pool_exhausted_total":
			s.TurnedAway += uint64(line.Value)
		case "go_goroutines":
			s.Goroutines = int(line.Value)
		case "pool_acquire_latency_ms_bucket":
			le, err := strconv.ParseFloat(line.Labels["le"], 64)
			if err == nil {
				s.acquire[le] += line.Value
			}
		}
	}
	o.pids.Range(func(name, pid any) bool {
		s.Processes[name.(string)] = usage(pid.(int))
		return true
	})
	o.samples = append(o.samples, s)
}

// watch takes a sample every so often until ctx ends.
func (o *observer) watch(ctx context.Context, every time.Duration) {
	for sleep(ctx, every) {
		o.sample(ctx)
	}
}

// usage reads /proc; zero for a process that has ended, or without /proc.
func usage(pid int) Usage {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return Usage{}
	}
	s, err := p.Stat()
	if err != nil {
		return Usage{}
	}
	return Usage{CPU: s.CPUTime(), Memory: s.ResidentMemory()}
}
