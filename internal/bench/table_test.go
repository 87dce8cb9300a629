package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func sample() Report {
	return Report{
		Machine: Machine{Go: "go1.26", Platform: "plan9/mips", CPU: "Z80", CPUs: 2, GOMAXPROCS: 1, Load: "0.50"},
		Sections: []Section{
			{
				Title: "first", Notes: []string{"a note"},
				Rows: []Row{
					result("base", "ns", []float64{8, 10, 12}, []float64{8, 10, 12}).to("the base"),
					result("ours, µ", "ns", []float64{16, 91, 24}, []float64{8, 10, 12}).to("the base").atMost("ratio", 1.7),
					result("ours, µ", "allocs", []float64{1}, nil).atMost("value", 1),
					result("ours", "/s", []float64{30}, []float64{10}).to("the base").atLeast("ratio", 4).atLeast("value", 20),
				},
			},
			{Title: "second", Error: "no such machine"},
		},
	}
}

func TestTheTableIsAlignedAndSaysWhichGoalsAreNotMet(t *testing.T) {
	var b strings.Builder
	if err := sample().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `go1.26 plan9/mips, Z80, 2 CPUs, GOMAXPROCS 1, load 0.50 at the start
Medians of turns taken alternately; × with (quartiles) is the ratio to what is named, turn by turn.

first
  base    10.0 ns        1 ×             the base
  ours, µ 24.0 ns     2.00 × (2.00–9.10) the base goal ≤ 1.7 ×: NOT met, 2.00
  ours, µ 1.00 allocs                             goal ≤ 1 allocs: met
  ours    30.0 /s     3.00 × (3.00–3.00) the base goal ≥ 4 ×: NOT met, 3.00; goal ≥ 20 /s: met
  · a note

second
  not measured: no such machine
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTheReportSurvivesJSON(t *testing.T) {
	out, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if g := r.Sections[0].Rows[1].Goals[0]; g.Met || g.Limit != 1.7 || g.Of != "ratio" {
		t.Errorf("goal %+v in %s", g, out)
	}
}

func TestNumbersKeepThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.123: "0.12", 1: "1.00", 9.876: "9.88", 12.34: "12.3", 123.4: "123", 44177: "44177"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}
