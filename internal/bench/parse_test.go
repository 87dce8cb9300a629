package main

import (
	"context"
	"os"
	"strings"
	"testing"
)

func TestBenchmarkOutputIsRead(t *testing.T) {
	got, err := parseBenchmarks(`goos: linux
pkg: example.com/pool
BenchmarkAtomicFloor-2      	192214900	         6.020 ns/op	       0 B/op	       0 allocs/op
BenchmarkReserveRelease/serial-2 	 8000000	       10.5 ns/op
BenchmarkReserveRelease/goroutines=16-2 	 8000000	       7 ns/op
BenchmarkOneCore 	 1000	       1e+06 ns/op	 3.5 pool/raw
BenchmarkFailed-2 --- FAIL
PASS
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		name, unit string
		value      float64
	}{
		{"AtomicFloor", "ns/op", 6.02}, {"AtomicFloor", "allocs/op", 0},
		{"ReserveRelease/serial", "ns/op", 10.5}, {"ReserveRelease/goroutines=16", "ns/op", 7},
		{"OneCore", "ns/op", 1e6}, {"OneCore", "pool/raw", 3.5},
	} {
		if v, ok := got[want.name][want.unit]; !ok || v != want.value {
			t.Errorf("%s: %v %s, want %v", want.name, v, want.unit, want.value)
		}
	}
	if _, ok := got["Failed"]; ok || len(got) != 4 {
		t.Errorf("%d results in %v, want 4", len(got), got)
	}
}

func TestBenchmarkOutputWithoutAResultIsAnError(t *testing.T) {
	for _, output := range []string{"", "PASS\n", "BenchmarkX-2 100 fast ns/op\n"} {
		if got, err := parseBenchmarks(output); err == nil {
			t.Errorf("%q was read as %v", output, got)
		}
	}
}

func TestTheProcessorIsNamedWhereTheSystemNamesIt(t *testing.T) {
	if got := cpuModel("processor\t: 0\nmodel name\t: AMD EPYC: 7\nmodel name\t: other\n"); got != "AMD EPYC: 7" {
		t.Errorf("cpuModel = %q", got)
	}
	if got := cpuModel("processor: 0\n"); got != "" {
		t.Errorf("cpuModel = %q, want none", got)
	}
	if s := (Machine{Go: "go1.26", Platform: "a/b", CPUs: 1, GOMAXPROCS: 1}).String(); s != "go1.26 a/b, 1 CPUs, GOMAXPROCS 1" {
		t.Errorf("machine %q", s)
	}
}

func TestAProcessIsToldItsRole(t *testing.T) {
	cmd, err := asRole(context.Background(), "idle", "pool", 3)
	if err != nil {
		t.Fatal(err)
	}
	if env := strings.Join(cmd.Env, "\n"); !strings.Contains(env, roleVariable+"=idle pool 3\n") {
		t.Errorf("environment without the role: %s", env)
	}
}

func TestWithoutARoleTheProgramIsItself(t *testing.T) {
	if os.Getenv(roleVariable) != "" || runRole() {
		t.Error("a role is played")
	}
}

func TestRolesRefuseWordsTheyDoNotUnderstand(t *testing.T) {
	for role, words := range map[string][]string{
		"server": {}, "idle": {"pool", "unix:/none", "one", "2", "1s"},
	} {
		if err := roles[role](words); err == nil {
			t.Errorf("%s %q was accepted", role, words)
		}
	}
}
