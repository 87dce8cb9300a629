package stack

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const patience = 30 * time.Second

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// helper starts this test binary as a program.
func helper(t *testing.T, role string, args ...string) *Process {
	t.Helper()
	p, err := start(role, os.Args[0], filepath.Join(t.TempDir(), "log"), []string{helperEnv + "=" + role, "EXTRA=from the environment"}, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestProcessIsReadyAtItsFirstLineAndStopsInOrder(t *testing.T) {
	p := helper(t, "serve", "argument")
	line, err := p.ready(limited(t))
	if err != nil || line != "ready" || !p.Running() {
		t.Fatalf("%q, %v, running %v", line, err, p.Running())
	}
	if err := p.Stop(limited(t)); err != nil || p.Running() {
		t.Errorf("%v, running %v", err, p.Running())
	}
	if want := "ready\nmore from the environment [argument]\nstopping\n"; p.Log() != want {
		t.Errorf("log %q, want %q", p.Log(), want)
	}
	if got := p.LogTail(1); got != "stopping" {
		t.Errorf("last line %q", got)
	}
	if err := p.Stop(limited(t)); err != nil {
		t.Errorf("stopped twice: %v", err)
	}
}

func TestProcessThatDoesNotStopIsKilled(t *testing.T) {
	p := helper(t, "stubborn")
	if _, err := p.ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Stop(ctx); !errors.Is(err, context.Canceled) || p.Running() {
		t.Errorf("%v, running %v", err, p.Running())
	}
}

func TestProcessThatEndsBeforeItIsReadySaysWhy(t *testing.T) {
	p := helper(t, "broken")
	_, err := p.ready(limited(t))
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "a setting is wrong") {
		t.Errorf("%v", err)
	}
	if _, err := start("none", filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "log"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such program: %v", err)
	}
}
