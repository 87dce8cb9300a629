package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is the outcome of a run. Its JSON form is stable; all durations in it are nanoseconds.
type Report struct {
	Mode        Mode          `json:"mode"`
	Callers     int           `json:"callers"`
	Connections int           `json:"connections"`
	Keys        int           `json:"keys"`
	Algorithm   string        `json:"algorithm"`
	Rate        float64       `json:"rate_per_s"` // 0: closed loop
	Timeout     time.Duration `json:"timeout_ns"`
	VerifyEvery int           `json:"verify_every"`

	// Started is when the first call could begin, keys and streams being ready.
	Started time.Time `json:"started"`
	// Elapsed runs from Started to the end of the last call.
	Elapsed time.Duration `json:"elapsed_ns"`
	// Interrupted says that the run was ended before its time.
	Interrupted bool `json:"interrupted"`

	Totals
	// Missed counts calls that an open loop's schedule had and for which no time was left at the end.
	Missed uint64 `json:"missed"`
	// Slower counts calls that succeeded and took longer than Config.SlowerThan.
	Slower uint64 `json:"slower,omitempty"`
	// Throughput is the number of calls that succeeded per second of Elapsed.
	Throughput float64 `json:"throughput_per_s"`
	// StreamsOpened counts SignStreams, replacements included.
	StreamsOpened uint64 `json:"streams_opened"`

	Signatures Signatures `json:"signatures"`
	// Intervals are the run's course, in order.
	Intervals []Interval `json:"intervals"`
}

// Totals are the calls that ended within some time.
type Totals struct {
	// Succeeded and Failed together are all calls that ended.
	Succeeded uint64 `json:"succeeded"`
	Failed    uint64 `json:"failed"`
	// Errors are the failed calls by the name of their gRPC status code.
	Errors map[string]Errors `json:"errors"`
	// Latency is that of the calls that succeeded, ErrorLatency that of those that failed.
	Latency      Latency `json:"latency"`
	ErrorLatency Latency `json:"error_latency"`
}

// Errors are failed calls of one kind.
type Errors struct {
	Count uint64 `json:"count"`
	// Example is the message of one of them.
	Example string `json:"example"`
}

// Signatures says what became of the signatures.
type Signatures struct {
	Made     uint64 `json:"made"`
	Verified uint64 `json:"verified"`
	// Invalid counts signatures that were checked and did not verify.
	Invalid uint64 `json:"invalid"`
	// Example is the key and the reason of one that is invalid.
	Example string `json:"example,omitempty"`
}

// Interval is one stretch of a run.
type Interval struct {
	// Start and End are times since the run's start.
	Start time.Duration `json:"start_ns"`
	End   time.Duration `json:"end_ns"`
	Totals
	// Invalid counts, since the run's start, signatures that did not verify.
	Invalid uint64 `json:"invalid"`
}

// Throughput is the number of calls that succeeded per second.
func (i Interval) Throughput() float64 {
	if i.End <= i.Start {
		return 0
	}
	return float64(i.Succeeded) / (i.End - i.Start).Seconds()
}

// Latency summarises latencies, with an error of at most 0.1 %. All are 0 when Count is.
type Latency struct {
	Count uint64        `json:"count"`
	Mean  time.Duration `json:"mean_ns"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p99_9_ns"`
	Max   time.Duration `json:"max_ns"`
}

func summary(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	at := func(percentile float64) time.Duration { return time.Duration(h.ValueAtPercentile(percentile)) }
	return Latency{
		Count: uint64(h.TotalCount()), Mean: time.Duration(h.Mean()),
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: time.Duration(h.Max()),
	}
}
