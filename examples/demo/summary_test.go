package main

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/enclavepool/enclavepool/examples/internal/load"
)

var update = flag.Bool("update", false, "write the golden files anew")

func plain(_, text string) string { return text }

const ms = time.Millisecond

// report is that of a load without failures.
func report(made uint64, p50 time.Duration) *load.Report {
	return &load.Report{
		Totals:     load.Totals{Succeeded: made, Latency: load.Latency{Count: made, P50: p50, P99: 3 * p50, Max: 7 * p50}},
		Signatures: load.Signatures{Made: made, Verified: made},
	}
}

// exemplary is the result of a demonstration that went well.
func exemplary() *result {
	each := func(made uint64) map[string]*load.Report {
		all := make(map[string]*load.Report)
		for i, id := range enclaveIDs {
			all[id] = report(made+uint64(i), time.Duration(i+1)*600*time.Microsecond)
		}
		return all
	}
	r := &result{
		Transport: "unix sockets", Callers: 12, Elapsed: 15*time.Second + 4*ms, Enclaves: enclaveIDs, Victim: victim,
		WarmUp: each(900), Before: each(1000), During: each(2000), After: each(3000), Return: report(777, ms),
		Killed: 5700 * ms, Restarting: 7700 * ms, Listening: 7812 * ms, Signing: 7850 * ms,
		Wanted: 16, Opened: map[string]uint64{}, Reopened: 16, Manages: 2000,
		Strict: course{Before: served{Owner: 4000}, Outage: served{Owner: 2000, Nobody: 1000}, After: served{Owner: 9000}},
		Spill: &spilled{
			Served: course{Before: served{Owner: 500}, Outage: served{Owner: 400, Other: 200, Nobody: 100},
				After: served{Owner: 600, Other: 300}},
			Signatures: load.Signatures{Made: 2000, Verified: 2000}, Old: 4, Back: 4, NotFound: 98,
			New: map[string]int{"enclave-a": 5, "enclave-c": 3}, Stayed: 8, Unknown: 8, Later: victim, Slowest: 9 * ms,
		},
	}
	down := r.During[victim]
	down.Failed = 1234
	down.Errors = map[string]load.Errors{"Unavailable": {Count: 1230, Example: "away"}, "Internal": {Count: 4, Example: "cut"}}
	down.ErrorLatency = load.Latency{Count: 1234, P50: 900 * time.Microsecond, Max: 201 * ms}
	for at := time.Duration(0); at < r.Elapsed; at += 100 * ms {
		b := 16
		if at >= 5700*ms && at < 7900*ms {
			b = 0
		}
		r.Conns = append(r.Conns, connsAt{at, map[string]int{"enclave-a": 16, "enclave-b": b, "enclave-c": 16}})
	}
	return r
}

func TestSummaryIsTheGoldenOneAndFits80Columns(t *testing.T) {
	failed := exemplary()
	failed.After["enclave-c"].Signatures.Invalid = 1
	failed.After["enclave-c"].Signatures.Verified--
	failed.After["enclave-c"].Signatures.Example = `key "k": signature does not verify`
	failed.Signing = 0
	slow := exemplary()
	slow.During["enclave-a"].Latency.P99 = 400 * ms
	slow.Opened["enclave-a"] = 3
	slow.Conns[20].Conns["enclave-a"] = 14
	slow.Reopened = 40
	slow.WarmUp["enclave-c"].Failed = 128
	for name, r := range map[string]*result{"pass": exemplary(), "failed": failed, "slow": slow} {
		lines := render(r, plain)
		got := strings.Join(lines, "\n") + "\n"
		path := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
		for _, l := range lines {
			if n := utf8.RuneCountInString(l); n > 80 {
				t.Errorf("%s: %d columns: %s", name, n, l)
			}
		}
	}
}

func TestNothingFailsInAnExemplaryResult(t *testing.T) {
	if f := exemplary().failings(); len(f) > 0 {
		t.Error(f)
	}
	if s := exemplary().signatures(); s.Made != 3*(900+1000+2000+3000)+4*3+777 || s.Verified != s.Made {
		t.Errorf("%+v", s)
	}
}

func TestSharesAreNotRoundedToAllOrNothing(t *testing.T) {
	for _, c := range []struct {
		part, whole float64
		want        string
	}{{0, 0, "-"}, {0, 9, "0 %"}, {9, 9, "100 %"}, {1, 3, "33.3 %"}, {1, 1e6, "0.1 %"}, {999_999, 1e6, "99.9 %"}} {
		if got := percent(c.part, c.whole); got != c.want {
			t.Errorf("%v of %v: %s, want %s", c.part, c.whole, got, c.want)
		}
	}
}

func TestEachThingThatIsWrongIsNamed(t *testing.T) {
	for want, spoil := range map[string]func(*result){
		"2 signatures do not verify":                        func(r *result) { r.Return.Signatures.Invalid = 2 },
		"were verified":                                     func(r *result) { r.WarmUp[victim].Signatures.Verified-- },
		"1 calls to enclave-a failed during the fault":      func(r *result) { r.During["enclave-a"].Failed = 1 },
		"1 calls to enclave-b failed before the fault":      func(r *result) { r.Before[victim].Failed = 1 },
		"1 calls to enclave-b failed after the fault":       func(r *result) { r.After[victim].Failed = 1 },
		"1 calls to enclave-c failed long before the fault": func(r *result) { r.WarmUp["enclave-c"].Failed = 1 },
		"3 calls to enclave-b failed when it was back":      func(r *result) { r.Return.Failed = 3 },
		"4 calls to enclave-b failed before it was killed":  func(r *result) { r.EarlyFailures = 4 },
		"of 5 failed calls the gateway did not say":         func(r *result) { r.Final = 5 },
		"do not sign again":                                 func(r *result) { r.Signing = 0 },
		"made no signature when it was back":                func(r *result) { r.Return.Succeeded = 0 },
		"enclave-c made no signature during the fault":      func(r *result) { r.During["enclave-c"].Succeeded = 0 },
		"6 connections to enclave-a were opened":            func(r *result) { r.Opened["enclave-a"] = 6 },
		"7 connections to enclave-b were opened":            func(r *result) { r.Opened[victim] = 7 },
		"enclave-c had only 15 active connections":          func(r *result) { r.Conns[9].Conns["enclave-c"] = 15 },
		"enclave-b has 3 active connections at the end":     func(r *result) { r.Conns[len(r.Conns)-1].Conns[victim] = 3 },
		"the gateway's metrics could not be read":           func(r *result) { r.Conns = nil },
		"spill:1: 1 of 2 signatures were verified":          func(r *result) { r.Spill.Signatures = load.Signatures{Made: 2, Verified: 1} },
		"spill:1: nothing was signed":                       func(r *result) { r.Spill.Signatures = load.Signatures{} },
		"new keys were not created elsewhere":               func(r *result) { r.Spill.New[victim] = 1 },
		"3 calls failed that should not have":               func(r *result) { r.Spill.Unexpected = 3 },
		"7 of 8 new keys stayed":                            func(r *result) { r.Spill.Stayed = 7 },
		"the strict gateway finds 1 of 8 new keys":          func(r *result) { r.Spill.Unknown = 7 },
		"3 of 4 old keys are back":                          func(r *result) { r.Spill.Back = 3 },
		"no old key was missed":                             func(r *result) { r.Spill.NotFound = 0 },
		"created in enclave-c after the outage":             func(r *result) { r.Spill.Later = "enclave-c" },
		"something else":                                    func(r *result) { r.Problems = []string{"something else"} },
	} {
		r := exemplary()
		spoil(r)
		if f := r.failings(); !slices.ContainsFunc(f, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("%q is not among %q", want, f)
		}
	}
}

func TestOnASlowMachineReplacedConnectionsAreNoFailure(t *testing.T) {
	r := exemplary()
	r.Opened["enclave-a"] = 3
	r.Conns[20].Conns["enclave-c"] = 14
	if f := r.failings(); len(f) != 2 {
		t.Errorf("fast: %q, want two", f)
	}
	end := r.Conns[len(r.Conns)-1].Conns
	end["enclave-b"] = 15
	if f := r.failings(); len(f) != 3 {
		t.Errorf("fast: %q, want three", f)
	}
	r.After["enclave-c"].Latency.P99 = probeTimeout + 1
	if f := r.failings(); len(f) != 0 {
		t.Errorf("slow: %q", f)
	}
	r.WarmUp["enclave-c"].Failed = 128
	r.Spill.Unexpected, r.Spill.Stayed = 1, 7
	if f := r.failings(); len(f) != 0 {
		t.Errorf("slow, keys looked for elsewhere: %q", f)
	}
	r.After["enclave-c"].Failed = 1
	end["enclave-b"] = 0
	if f := r.failings(); len(f) != 2 {
		t.Errorf("slow, a call failed and an enclave is lost: %q, want both", f)
	}
}

func TestReturnOfTheConnectionsCountsFromTheFirstLookThatFoundThemAll(t *testing.T) {
	r := exemplary()
	if at, ok := r.full(); !ok || at != 7900*ms {
		t.Errorf("%v, %v", at, ok)
	}
	r.Conns = r.Conns[:60] // up to the outage
	if at, ok := r.full(); ok {
		t.Errorf("back at %v, and never were", at)
	}
}
