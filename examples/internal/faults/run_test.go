package faults

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(ChildEnv) != "" { // the process of row 7
		if err := Child(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// Behaviours alone are held here: a quick run holds no timing to its limit.
func TestEveryRowsBehaviourIsAsItHasToBe(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes for half a minute")
	}
	rep, err := Run(t.Context(), Config{Quick: true, Outage: 2 * time.Second, Child: []string{}, Say: func(line string) { t.Log(line) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Results) != len(rows) {
		t.Errorf("%d results, want %d", len(rep.Results), len(rows))
	}
	for _, res := range rep.Results {
		for _, b := range res.Broken {
			t.Errorf("row %d, %s: %s", res.Row, res.Fault, b)
		}
		if len(res.Measured)+len(res.NotShown) == 0 {
			t.Errorf("row %d says nothing", res.Row)
		}
		t.Logf("row %d: %q %q", res.Row, res.Measured, res.NotShown)
	}
}
