package compare

import (
	"slices"
	"time"
)

// Report is one comparison.
type Report struct {
	Started    time.Time     `json:"started"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	Go         string        `json:"go"`
	CPUs       int           `json:"cpus"`
	GOMAXPROCS int           `json:"gomaxprocs"`
	Rounds     int           `json:"rounds"`
	Turn       time.Duration `json:"turn_ns"`
	Timeout    time.Duration `json:"timeout_ns"`
	// OwnProcesses says that the enclaves were fake ones in processes of their own.
	OwnProcesses bool    `json:"own_processes"`
	Tables       []Table `json:"tables"`
}

// Wrong counts the answers that were not the right ones, in all tables.
func (r *Report) Wrong() uint64 { return r.sum(func(row Row) uint64 { return row.Wrong }) }

// Errors counts the requests that failed, in all tables.
func (r *Report) Errors() uint64 { return r.sum(func(row Row) uint64 { return row.Errors }) }

func (r *Report) sum(of func(Row) uint64) (n uint64) {
	for _, t := range r.Tables {
		for _, row := range t.Rows {
			n += of(row)
		}
	}
	return n
}

// Table is the modes beside each other with one number of callers and one way to sign.
type Table struct {
	// Signing is "echo", "ed25519" or "secp256k1".
	Signing string   `json:"signing"`
	Callers int      `json:"callers"`
	Rows    []Row    `json:"rows"`
	Notes   []string `json:"notes,omitempty"`
}

// Row is one mode. A figure is over the rounds.
type Row struct {
	Mode string `json:"mode"`
	// Throughput is right answers per second, Ratio that divided by Shared's in the same round.
	Throughput Figure `json:"throughput"`
	Ratio      Figure `json:"ratio_to_shared"`
	// P50, P99 and P999 are latencies in µs, of the requests that were answered rightly.
	P50  Figure `json:"p50_us"`
	P99  Figure `json:"p99_us"`
	P999 Figure `json:"p99_9_us"`
	// ClientCPU and EnclaveCPU are the CPU time of this process and of the enclaves', in seconds per 10 000
	// signatures; nil: not known.
	ClientCPU  *Figure `json:"client_cpu_s_per_10k,omitempty"`
	EnclaveCPU *Figure `json:"enclave_cpu_s_per_10k,omitempty"`
	// Allocs is what this process allocated for a signature, the request's context and deadline included.
	Allocs Figure `json:"allocs"`
	// Signatures, Errors and Wrong count over all rounds what was answered rightly, what failed and
	// what was answered with something else than the signature.
	Signatures uint64 `json:"signatures"`
	Errors     uint64 `json:"errors"`
	Wrong      uint64 `json:"wrong"`
	// Example is the message of one of the errors.
	Example string `json:"example,omitempty"`
	// Dials counts the connections that were tried while it was measured; nil: not known.
	Dials *uint64 `json:"dials,omitempty"`
}

// Figure is a median, with the least and the greatest of the rounds.
type Figure struct {
	Median float64   `json:"median"`
	Low    float64   `json:"low"`
	High   float64   `json:"high"`
	Rounds []float64 `json:"rounds"`
}

func figure(values []float64) Figure {
	if len(values) == 0 {
		return Figure{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return Figure{Median: at(sorted, 0.5), Low: sorted[0], High: sorted[len(sorted)-1], Rounds: values}
}

// row sums up the turns of one mode; shared are those of Shared, round by round.
func row(name string, turns, shared []turn) Row {
	of := func(value func(turn) float64) Figure {
		var values []float64
		for _, t := range turns {
			values = append(values, value(t))
		}
		return figure(values)
	}
	micros := func(d time.Duration) float64 { return float64(d) / 1e3 }
	r := Row{
		Mode:       name,
		Throughput: of(func(t turn) float64 { return t.throughput }),
		P50:        of(func(t turn) float64 { return micros(t.p50) }),
		P99:        of(func(t turn) float64 { return micros(t.p99) }),
		P999:       of(func(t turn) float64 { return micros(t.p999) }),
		Allocs:     of(func(t turn) float64 { return t.allocs }),
	}
	if f := of(func(t turn) float64 { return t.clientCPU }); f.Low >= 0 {
		r.ClientCPU = &f
	}
	if f := of(func(t turn) float64 { return t.enclaveCPU }); f.Low >= 0 {
		r.EnclaveCPU = &f
	}
	var ratios []float64
	for i, t := range turns {
		r.Signatures += t.signed
		r.Errors += t.failed
		r.Wrong += t.wrong
		if t.example != nil {
			r.Example = t.example.Error()
		}
		if t.hasDials {
			n := t.dials
			if r.Dials != nil {
				n += *r.Dials
			}
			r.Dials = &n
		}
		if shared[i].throughput > 0 {
			ratios = append(ratios, t.throughput/shared[i].throughput)
		}
	}
	r.Ratio = figure(ratios)
	return r
}
