package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/examples/internal/command"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tempFolder makes an empty folder the one for temporary files. Sockets need a short path, so it is not t.TempDir's.
func tempFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	return dir
}

// left is what is in a folder.
func left(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// trigger is a writer that calls a function when a text is first written.
type trigger struct {
	text string
	call func()

	mu sync.Mutex
	bytes.Buffer
}

func (w *trigger) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.Buffer.Write(p)
	if w.call != nil && strings.Contains(w.Buffer.String(), w.text) {
		w.call()
		w.call = nil
	}
	return n, err
}

func TestDemoPassesAndLeavesNothingBehind(t *testing.T) {
	dir := tempFolder(t)
	var out, errs bytes.Buffer
	code := run(context.Background(), []string{"-duration", "5s", "-callers", "4"}, newScreen(&out, false, env(nil)), &out, &errs)
	if code != command.Fine || !strings.Contains(out.String(), "PASS") || errs.Len() > 0 {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
	if found := left(t, dir); len(found) > 0 {
		t.Errorf("left behind: %q", found)
	}
}

func TestDemoStopsEverythingWhenInterrupted(t *testing.T) {
	bin := t.TempDir() // built once for all
	if _, err := stack.Find(context.Background(), bin, func(string) {}, nil, "enclave", "gateway"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ENCLAVEPOOL_BIN", bin)
	for _, at := range []string{"starting", "warm-up", "killed", "started again", "second act", "created elsewhere"} {
		t.Run(at, func(t *testing.T) {
			dir := tempFolder(t)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			out := &trigger{text: at, call: cancel}
			var errs bytes.Buffer
			code := run(ctx, []string{"-duration", "3s", "-callers", "3"}, newScreen(out, false, env(nil)), out, &errs)
			if code != command.Interrupted || !strings.Contains(errs.String(), "interrupted") {
				t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
			}
			if found := left(t, dir); len(found) > 0 {
				t.Errorf("left behind: %q", found)
			}
		})
	}
}

func TestDemoRefusesBadFlagsWithExitCode2(t *testing.T) {
	var out, errs bytes.Buffer
	code := run(context.Background(), []string{"-duration", "1s", "-callers", "2", "extra"}, newScreen(&out, false, env(nil)), &out, &errs)
	if code != command.BadFlags {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"-duration", "3s to 10m", "-callers", `"extra"`} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("%q is not in %q", want, errs.String())
		}
	}
	if code := run(context.Background(), []string{"-help"}, newScreen(&out, false, env(nil)), &out, &errs); code != command.Fine || !strings.Contains(out.String(), "-keep") {
		t.Errorf("-help: exit code %d, %q", code, out.String())
	}
}

func TestDemoSaysWhichProgramsAreMissing(t *testing.T) {
	tempFolder(t)
	t.Setenv("ENCLAVEPOOL_BIN", t.TempDir())
	var out, errs bytes.Buffer
	code := run(context.Background(), nil, newScreen(&out, false, env(nil)), &out, &errs)
	if code != command.Failed || !strings.Contains(errs.String(), "enclave, gateway") {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
}
