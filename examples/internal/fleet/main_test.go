package fleet

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack/testmain"
)

var programs stack.Programs

func TestMain(m *testing.M) { os.Exit(testmain.Run(m, &programs, nil, "enclave", "gateway")) }

// limited is a context for everything that a test waits for.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func launch(t *testing.T, cfg Config) *Fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet-") // short, for the sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg.Programs, cfg.Dir = programs, dir
	f, err := Launch(limited(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, g := range f.Gateways {
				t.Logf("%s said:\n%s", g.Name, tail(g.Log(), 2000))
			}
		}
		if err := f.Kill(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }
