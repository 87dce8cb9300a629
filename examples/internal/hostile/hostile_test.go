package hostile

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(ChildEnv) != "" {
		if err := Child(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "hostile:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// All attacks, but several at a time: `make hostile` makes them one by one, and for longer.
func TestAHostileEnclaveWastesNobodysTimeButItsOwn(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Together, cfg.Calm, cfg.Storm, cfg.Conns = 8, 100*time.Millisecond, time.Second, 4
	// The race detector slows all enclaves down, and the machine may be busy with other tests.
	cfg.HealthTimeout, cfg.Room = 500*time.Millisecond, 30*time.Second
	cfg.Say = func(line string) { t.Log(line) }
	rep, err := Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Results) != len(Names()) {
		t.Errorf("%d attacks of %d", len(rep.Results), len(Names()))
	}
	for _, res := range rep.Results {
		for _, b := range res.Broken {
			t.Errorf("%s: %s", res.Name, b)
		}
	}
}
