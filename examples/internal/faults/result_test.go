package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

const ms = time.Millisecond

func TestQuantileIsTheNearestRank(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, c := range []struct {
		samples []time.Duration
		q       float64
		want    time.Duration
	}{
		{nil, 0.5, 0}, {hundred[:1], 0.5, 1}, {hundred[:1], 1, 1}, {hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100},
		{hundred[:3], 0.5, 2}, {hundred[:4], 0.5, 2}, {hundred[:20], 0.99, 20}, {hundred, 0, 1},
	} {
		if got := quantile(c.samples, c.q); got != c.want {
			t.Errorf("quantile %v of %d: %d, want %d", c.q, len(c.samples), got, c.want)
		}
	}
}

func TestVerdictSaysTheWorst(t *testing.T) {
	for want, r := range map[string]Result{
		"met":                    {Measured: []string{"x"}},
		"met, in part not shown": {Measured: []string{"x"}, NotShown: []string{"x"}},
		"not shown here":         {NotShown: []string{"x"}},
		"not met":                {Measured: []string{"x"}, NotShown: []string{"x"}, Missed: []string{"x"}},
		"BROKEN":                 {Measured: []string{"x"}, Missed: []string{"x"}, Broken: []string{"x"}},
	} {
		if got := r.Verdict(); got != want {
			t.Errorf("%+v: %s, want %s", r, got, want)
		}
	}
}

func TestTimingIsMissedAboveItsLimitAndBrokenFarAboveIt(t *testing.T) {
	for _, c := range []struct {
		samples []time.Duration
		quick   bool
		verdict string
	}{
		{[]time.Duration{5 * ms, 10 * ms, 1 * ms}, false, "met"},
		{[]time.Duration{5 * ms, 11 * ms, 1 * ms}, false, "not met"},
		{[]time.Duration{5 * ms, 900 * ms, 1 * ms}, false, "not met"}, // the median is what counts
		{[]time.Duration{51 * ms, 900 * ms, 1 * ms}, false, "BROKEN"},
		{[]time.Duration{51 * ms, 900 * ms, 1 * ms}, true, "met"},
	} {
		r := Result{quick: c.quick}
		r.timing("it", c.samples, worst(10*ms))
		if r.Verdict() != c.verdict {
			t.Errorf("%v, quick %v: %s, want %s", c.samples, c.quick, r.Verdict(), c.verdict)
		}
	}
	var r Result
	if r.timing("it", nil); r.Verdict() != "not met" {
		t.Errorf("no samples: %s", r.Verdict())
	}
}

func TestReportHasEveryRowAndAllThatItSays(t *testing.T) {
	rep := Report{Transport: stack.Unix, Machine: Machine{CPUs: 2, System: "os", Go: "go", GRPC: "1", Began: time.Unix(0, 0)}, Results: []*Result{
		{Row: 7, Fault: "a fault | or two", Held: "figures", How: "This is how.", Measured: []string{"measured this"},
			Missed: []string{"missed that"}, Broken: []string{"broke it"}, NotShown: []string{"left out"}},
	}}
	if !rep.Broken() {
		t.Error("not broken")
	}
	var text, page strings.Builder
	rep.Text(&text)
	rep.Markdown(&page, "the command")
	for _, want := range []string{"7", "a fault", "figures", "measured this", "missed that", "broke it", "left out", "BROKEN"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in the text:\n%s", want, text.String())
		}
		if !strings.Contains(page.String(), want) {
			t.Errorf("%q is not in the page:\n%s", want, page.String())
		}
	}
	for _, want := range []string{`a fault \| or two | figures | BROKEN |`, "This is how.", "the command", "1970-01-01", "unix sockets", "2 CPUs"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("%q is not in the page:\n%s", want, page.String())
		}
	}
}

func TestOnAnEmulatedMachineWorkHasMoreTimeAndWaitingDoesNot(t *testing.T) {
	limit := worst(250 * ms).waiting(225 * ms)
	for slowness, want := range map[float64]time.Duration{0: 250 * ms, 0.5: 250 * ms, 1: 250 * ms, 10: 475 * ms} {
		if got := limit.on(slowness); got != want {
			t.Errorf("%v times slower: %v, want %v", slowness, got, want)
		}
	}
	for took, want := range map[time.Duration]string{400 * ms: "met", 500 * ms: "not met", 3 * time.Second: "BROKEN"} {
		r := &Result{slowness: 10}
		r.timing("it", []time.Duration{took}, limit)
		if got := r.Verdict(); got != want {
			t.Errorf("%v: %s, want %s", took, got, want)
		}
		if !strings.Contains(r.Measured[0], "limit here for the worst 475ms") {
			t.Errorf("%q says nothing of the limit", r.Measured[0])
		}
	}
}
