package main

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if runRole() {
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// tinyPlan measures nothing of worth, in every way that there is.
func tinyPlan() plan {
	return plan{
		conns: 2, rounds: 1, insideTurn: time.Millisecond, turns: 1, turn: 100 * time.Microsecond,
		waiters: 20, slots: 2, waitRounds: 1, waitTurn: 20 * time.Millisecond,
		callRounds: 2, callsPerTurn: 2,
		idleEnclaves: 2, idleRounds: 1, settle: 10 * time.Millisecond,
		callers: 4, mixRounds: 1, mixTurn: 50 * time.Millisecond, pause: time.Millisecond,
		slowEvery: 5, bigSize: slowFrom,
		crowds: []crowdPlan{
			{callers: 4, rounds: 1, turn: 20 * time.Millisecond, goals: true},
			{callers: 1, rounds: 1, turn: 20 * time.Millisecond},
		},
		streamConns: []int{1, 2},
	}
}

func TestEveryMeasurementRunsAndHasTheRowsOfItsGoals(t *testing.T) {
	goals := map[string]int{ // by title
		"take a slot and give it back":                5 + 1,
		"1000 callers, 32 slots":                      2 + 2,
		"a unary call of 32 bytes, one after another": 1,
		"an idle connection, client side":             2,
		"Sign over warm streams":                      2 * 3,
	}
	for _, m := range measurements(tinyPlan()) {
		t.Run(m.title, func(t *testing.T) {
			s, err := m.measure(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			found := 0
			for _, row := range s.Rows {
				found += len(row.Goals)
				// Without growth of the heap an idle connection may cost nothing;
				// everything else takes time.
				if row.Value <= 0 && slices.Contains([]string{"ns", "µs", "ms", "/s"}, row.Unit) && !strings.Contains(row.Name, "CPU") {
					t.Errorf("%s: %v %s", row.Name, row.Value, row.Unit)
				}
			}
			if len(s.Rows) == 0 || found != goals[m.title] {
				t.Errorf("%d rows with %d goals; want some, with %d", len(s.Rows), found, goals[m.title])
			}
		})
	}
}

func TestAnInterruptedRunSaysSoAndFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr strings.Builder
	if status := run(ctx, []string{"-json"}, &stdout, &stderr); status != 1 || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("status %d, %q", status, stderr.String())
	}
	var r Report
	if err := json.Unmarshal([]byte(stdout.String()), &r); err != nil || len(r.Sections) != 0 {
		t.Errorf("%v in %q", err, stdout.String())
	}
}

func TestBadFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-no-such-flag"}, {"-only", "("}} {
		var stdout, stderr strings.Builder
		if status := run(t.Context(), args, &stdout, &stderr); status != 2 || stderr.Len() == 0 {
			t.Errorf("%q: status %d, %q", args, status, stderr.String())
		}
	}
}

func TestARunWithoutAMatchingSectionIsAnEmptyTable(t *testing.T) {
	var stdout, stderr strings.Builder
	if status := run(t.Context(), []string{"-only", "^$"}, &stdout, &stderr); status != 0 || !strings.Contains(stdout.String(), "GOMAXPROCS 2") {
		t.Errorf("status %d, %q", status, stdout.String())
	}
}
