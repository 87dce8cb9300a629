package alternatives

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// calls makes n calls a window, of 1 ms each, from one time to another.
func calls(n int, from, to time.Duration, failed bool) (all []outcome) {
	for at := from; at < to; at += window {
		for range n {
			all = append(all, outcome{began: at, took: time.Millisecond, failed: failed})
		}
	}
	return all
}

func TestFiguresSeeTheFaultAndTheReturn(t *testing.T) {
	const s = time.Second
	all := append(calls(10, 0, s, false), calls(3, s, 2*s, true)...)
	all = append(all, calls(2, 2*s, 2500*time.Millisecond, false)...) // back, but slowly
	all = append(all, calls(10, 2500*time.Millisecond, 4*s, false)...)
	f := figures(all, nil, s, 2*s, 4*s)
	if f.Failed != 60 || f.Wasted != 60*time.Millisecond {
		t.Errorf("%d failed in %v, want 60 in 60ms", f.Failed, f.Wasted)
	}
	if f.Recovery != 500*time.Millisecond {
		t.Errorf("recovery %v, want 500ms", f.Recovery)
	}
	if f.Stall != s+time.Millisecond {
		t.Errorf("stall %v, want 1.001s", f.Stall)
	}
	if f = figures(append(calls(10, 0, s, false), calls(1, s, 4*s, false)...), nil, s, 2*s, 4*s); f.Recovery != -1 {
		t.Errorf("recovery %v though the rate never came back, want -1", f.Recovery)
	}
	if f = figures(calls(10, 0, s, false), nil, s, 2*s, 4*s); f.Stall != 3*s || f.PerSecond != 0 {
		t.Errorf("without an answer: stall %v, %v/s, want 3s and 0", f.Stall, f.PerSecond)
	}
}

func TestARoundWithoutRecoveryIsNotHiddenByOthers(t *testing.T) {
	f := medians([]Figures{{Recovery: 1, Failed: 1}, {Recovery: -1, Failed: 2}, {Recovery: 3}})
	if f.Recovery != -1 || f.Failed != 3 {
		t.Errorf("%+v", f)
	}
}

func TestEveryWaySignsAndHasItsRow(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	programs, err := stack.Find(ctx, t.TempDir(), func(string) {}, nil, "enclave")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(ctx, Config{Enclave: programs["enclave"], Transport: stack.Unix, Turn: 300 * time.Millisecond, Rounds: 1, Callers: []int{4}, SteadyOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	text := r.Markdown("# Head")
	for i, name := range r.Ways {
		if f := r.Steady[0].Rows[i]; f.Calls == 0 || f.Failed > 0 {
			t.Errorf("%s: %d of %d calls failed: %v", name, f.Failed, f.Calls, f.Codes)
		}
		if strings.Count(text, "| "+name+" |") != 2 {
			t.Errorf("%s has not one row in each table:\n%s", name, text)
		}
	}
}
