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

func TestAHostileEnclaveWastesNobodysTimeButItsOwn(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Attacks, cfg.Calm, cfg.Storm, cfg.Conns = []string{name}, 100*time.Millisecond, 1500*time.Millisecond, 4
			cfg.HealthTimeout = 200 * time.Millisecond // the race detector slows both enclaves down
			rep, err := Run(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			res := rep.Results[0]
			t.Log(res.line())
			for _, b := range res.Broken {
				t.Error(b)
			}
		})
	}
}
