package benchreport

import (
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/load"
)

// good is a steady run in which everything is as it has to be.
func good() *Result {
	return &Result{
		Load: &load.Report{
			Totals:     load.Totals{Succeeded: 1000, Latency: load.Latency{Count: 1000}},
			Signatures: load.Signatures{Made: 1000, Verified: 10}, Throughput: 1000,
		},
		Samples: []Sample{{Conns: map[string]int{"a": 16, "b": 16}, Dials: 32}, {Conns: map[string]int{"a": 17, "b": 16}, Dials: 32}},
		Acquire: Buckets{0.05: 990, 0.2: 995, 500: 1000},
	}
}

func allMet(all []Criterion) bool {
	for _, c := range all {
		if !c.Met {
			return false
		}
	}
	return true
}

func TestASteadyRunIsMetUntilOneThingIsWrong(t *testing.T) {
	if r := good(); !allMet(judgeSteady(r)) {
		t.Fatalf("not met: %+v", judgeSteady(r))
	}
	for name, spoil := range map[string]func(*Result){
		"a failed call":       func(r *Result) { r.Load.Failed = 1 },
		"no call at all":      func(r *Result) { r.Load.Succeeded = 0 },
		"a wrong signature":   func(r *Result) { r.Load.Signatures.Invalid = 1 },
		"none verified":       func(r *Result) { r.Load.Signatures.Verified = 0 },
		"a dial":              func(r *Result) { r.Samples[1].Dials++ },
		"one accepted":        func(r *Result) { r.Accepted = 1 },
		"a reset":             func(r *Result) { r.Samples[1].Resets++ },
		"too few":             func(r *Result) { r.Samples[0].Conns["b"] = 15 },
		"a long wait":         func(r *Result) { r.Acquire = Buckets{0.05: 900, 0.2: 980, 500: 1000} },
		"no wait was counted": func(r *Result) { r.Acquire = Buckets{} },
	} {
		r := good()
		spoil(r)
		if allMet(judgeSteady(r)) {
			t.Errorf("%s: all met", name)
		}
	}
}

func TestARestartIsHeldToTheRecoveryOfAllConnections(t *testing.T) {
	run := func(last time.Duration) *Result {
		r := good()
		r.Disturb = &Disturbance{Began: 5 * time.Second, Listening: 6 * time.Second}
		r.Load.Failed = 3
		r.Load.Errors = map[string]load.Errors{"Unavailable": {Count: 2}, "NotFound": {Count: 1}}
		r.Events = []Event{
			{At: 6*time.Second + 20*time.Millisecond, Enclave: "a", Message: "enclave recovered"},
			{At: 6*time.Second + last, Enclave: "a", Message: "connection back in rotation"},
			{At: 9 * time.Second, Enclave: "b", Message: "connection back in rotation"},
		}
		return r
	}
	if r := run(150 * time.Millisecond); !allMet(judgeRestart(r)) {
		t.Errorf("not met: %+v", judgeRestart(r))
	}
	if r := run(250 * time.Millisecond); allMet(judgeRestart(r)) {
		t.Error("all met, though the last connection took 250 ms")
	}
	r := run(150 * time.Millisecond)
	r.Events = nil
	if allMet(judgeRestart(r)) {
		t.Error("all met, though none came back")
	}
	r = run(150 * time.Millisecond)
	r.Load.Intervals = []load.Interval{{Start: 9 * time.Second, Totals: load.Totals{Failed: 1}}}
	if allMet(judgeRestart(r)) {
		t.Error("all met, though a call failed long after")
	}
	r = run(150 * time.Millisecond)
	r.Load.Errors["Internal"], r.Load.Failed = load.Errors{Count: 1}, 4
	if allMet(judgeRestart(r)) {
		t.Error("all met, though a call failed with Internal")
	}
}

func TestEventsAreReadFromTheLog(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	log := `time=2026-01-02T03:04:04.500Z level=INFO msg="enclave connected" enclave_id=a after=3ms
time=2026-01-02T03:04:06.000Z level=WARN msg="connection lost" enclave_id=a conn=3 cause="read: \"reset\"\nby peer" next=0s
time=2026-01-02T03:04:07.000Z level=INFO msg="gateway stops"
`
	all, err := events(log, began)
	if err != nil {
		t.Fatal(err)
	}
	want := Event{At: time.Second, Level: "WARN", Message: "connection lost", Enclave: "a", Conn: "3", Cause: "read: \"reset\"\nby peer"}
	if got := since(all, 0); len(all) != 2 || len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, and of the load %+v, want %+v", all, got, want)
	}
	if _, err := events("time=x level=INFO msg=m enclave_id=a\n", began); err == nil {
		t.Error("a time that is none is accepted")
	}
}

func TestPercentilesAreBoundsOfBuckets(t *testing.T) {
	b := Buckets{1: 90, 2: 99, 5: 100}
	for q, want := range map[float64]float64{0.5: 1, 0.9: 1, 0.95: 2, 0.999: 5} {
		if got, n := b.percentile(q); got != want || n != 100 {
			t.Errorf("%v: %v of %v, want %v of 100", q, got, n, want)
		}
	}
	if got := b.minus(Buckets{1: 90, 2: 90, 5: 90}); got[1] != 0 || got[5] != 10 {
		t.Errorf("difference %v", got)
	}
}
