package faults

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
)

// call is one call as its caller saw it.
type call struct {
	caller     int
	enclave    string // the one it was made to, the last one if it was made to several
	begin, end time.Time
	err        error
	conn       uint64 // the connection it was sent on last; 0: none, or not known
	attempts   int    // that gRPC made, where they are counted
}

func (c call) latency() time.Duration { return c.end.Sub(c.begin) }

func (c call) code() codes.Code { return status.Code(c.err) }

// kind is the code and, from the pool, how far the call got.
func (c call) kind() string {
	if e := poolError(c.err); e != nil {
		return fmt.Sprintf("%v, %v", c.code(), e.Disposition)
	}
	return c.code().String()
}

// poolError is the pool's part of an error; nil: it has none.
func poolError(err error) *pool.Error {
	var e *pool.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// unsent reports whether a failed call may be made again elsewhere without a second thought.
func unsent(err error) bool {
	e := poolError(err)
	return e != nil && (e.Disposition == pool.NotSent || e.Disposition == pool.Refused)
}

// calls are those of a load, by when they began.
type calls []call

// where are the calls that f chooses.
func (cs calls) where(f func(call) bool) calls {
	var out calls
	for _, c := range cs {
		if f(c) {
			out = append(out, c)
		}
	}
	return out
}

// on are the calls to an enclave.
func (cs calls) on(id string) calls { return cs.where(func(c call) bool { return c.enclave == id }) }

// failed are those that failed.
func (cs calls) failed() calls { return cs.where(func(c call) bool { return c.err != nil }) }

// begun are those that began from one moment until another.
func (cs calls) begun(from, until time.Time) calls {
	return cs.where(func(c call) bool { return !c.begin.Before(from) && c.begin.Before(until) })
}

// inFlight are those that were under way at a moment.
func (cs calls) inFlight(at time.Time) calls {
	return cs.where(func(c call) bool { return c.begin.Before(at) && c.end.After(at) })
}

// latencies are those of the calls that succeeded, sorted.
func (cs calls) latencies() []time.Duration {
	var out []time.Duration
	for _, c := range cs {
		if c.err == nil {
			out = append(out, c.latency())
		}
	}
	slices.Sort(out)
	return out
}

// slowest is the longest that a call took, failed ones included.
func (cs calls) slowest() (longest time.Duration) {
	for _, c := range cs {
		longest = max(longest, c.latency())
	}
	return longest
}

// most is the greatest number of the calls that one caller made.
func (cs calls) most() (n int) {
	by := make(map[int]int)
	for _, c := range cs {
		by[c.caller]++
		n = max(n, by[c.caller])
	}
	return n
}

// kinds counts the failed calls by what they failed with, and gives an example of each that want does not accept.
func (cs calls) kinds(want func(call) bool) (text string, wrong []string) {
	counts := make(map[string]int)
	examples := make(map[string]string)
	for _, c := range cs.failed() {
		k := c.kind()
		counts[k]++
		if want != nil && !want(c) && examples[k] == "" {
			examples[k] = c.err.Error()
		}
	}
	if len(counts) == 0 {
		return "none", nil
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[k], k))
	}
	for _, k := range slices.Sorted(maps.Keys(examples)) {
		wrong = append(wrong, fmt.Sprintf("%d calls failed with %s, such as: %s", counts[k], k, examples[k]))
	}
	return strings.Join(parts, "; "), wrong
}

// unavailable is what a call to an enclave that is away has to fail with.
func unavailable(c call) bool { return c.code() == codes.Unavailable && poolError(c.err) != nil }

func byBegin(a, b call) int { return cmp.Compare(a.begin.UnixNano(), b.begin.UnixNano()) }
