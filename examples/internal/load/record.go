package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/grpc/status"
)

// maxLatency is the longest latency told apart from longer ones.
const maxLatency = 30 * time.Minute

// shards is the number of places that callers record into. One each would cost 200 KiB per caller, and
// a single one a queue of callers at its lock.
const shards = 8

// tally is what was recorded during some time.
type tally struct {
	ok, failed *hdrhistogram.Histogram // their counts are the numbers of calls
	errors     map[string]Errors
}

func newTally() *tally {
	h := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(maxLatency), 3) }
	return &tally{ok: h(), failed: h(), errors: make(map[string]Errors)}
}

func (t *tally) merge(from *tally) {
	t.ok.Merge(from.ok)
	t.failed.Merge(from.failed)
	for kind, e := range from.errors {
		sum := t.errors[kind]
		sum.Count += e.Count
		if sum.Example == "" {
			sum.Example = e.Example
		}
		t.errors[kind] = sum
	}
}

func (t *tally) reset() {
	t.ok.Reset()
	t.failed.Reset()
	clear(t.errors)
}

func (t *tally) totals() Totals {
	out := Totals{
		Succeeded: uint64(t.ok.TotalCount()), Failed: uint64(t.failed.TotalCount()),
		Errors: make(map[string]Errors, len(t.errors)), Latency: summary(t.ok), ErrorLatency: summary(t.failed),
	}
	for kind, e := range t.errors {
		out.Errors[kind] = e
	}
	return out
}

// slower counts the calls that succeeded and took longer than d.
func (t *tally) slower(d time.Duration) (n uint64) {
	for _, bar := range t.ok.Distribution() {
		if bar.From > int64(d) {
			n += uint64(bar.Count)
		}
	}
	return n
}

// recorder takes the outcome of calls from many callers and hands out intervals.
type recorder struct {
	shards [shards]struct {
		sync.Mutex
		*tally
	}
	all, last *tally // belong to the goroutine that cuts
	cutAt     time.Duration
}

func newRecorder() *recorder {
	r := &recorder{all: newTally(), last: newTally()}
	for i := range r.shards {
		r.shards[i].tally = newTally()
	}
	return r
}

// record notes the outcome of a call.
func (r *recorder) record(caller int, latency time.Duration, err error) {
	s := &r.shards[caller%shards]
	value := min(max(int64(latency), 1), int64(maxLatency))
	s.Lock()
	defer s.Unlock()
	if err == nil {
		_ = s.ok.RecordValue(value) // fails for values out of range only
		return
	}
	_ = s.failed.RecordValue(value) // as above
	kind := status.Code(err).String()
	e := s.errors[kind]
	e.Count++
	if e.Example == "" {
		e.Example = status.Convert(err).Message()
	}
	s.errors[kind] = e
}

// cut ends the current interval at the given time since the start and returns it.
func (r *recorder) cut(now time.Duration) Interval {
	r.last.reset()
	for i := range r.shards {
		s := &r.shards[i]
		s.Lock()
		r.last.merge(s.tally)
		s.reset()
		s.Unlock()
	}
	r.all.merge(r.last)
	out := Interval{Start: r.cutAt, End: now, Totals: r.last.totals()}
	r.cutAt = now
	return out
}
