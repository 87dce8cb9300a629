//go:build unix

package envconfig_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/envconfig"
)

func hangUp(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func TestSIGHUPAppliesTheFileChangedOrNot(t *testing.T) {
	w := &watched{dir: t.TempDir(), lines: make(chan string, 10)}
	path := write(t, w.dir+"/pool.env", size(16))
	stop := w.watch(t, path, w.apply, envconfig.WithInterval(0))
	next := func(sizes, words string) {
		t.Helper()
		select {
		case line := <-w.lines:
			if !strings.Contains(line, words) {
				t.Errorf("logged %s, want %s", line, words)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("nothing happened, want %s", words)
		}
		if got, _ := w.taken(); got != sizes {
			t.Errorf("applied %s, want %s", got, sizes)
		}
	}
	next("[16]", "trigger=start") // from here on Watch has the signal
	hangUp(t)
	next("[16]", "trigger=hangup")
	write(t, path, size(24))
	hangUp(t)
	next("[24]", "trigger=hangup")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 2 { // whoever sends it wants to know
		hangUp(t)
		next("[]", "cannot be read")
	}
	write(t, path, size(0))
	hangUp(t)
	next("[]", "rejected")
	write(t, path, size(8))
	hangUp(t)
	next("[8]", "trigger=hangup")
	stop()
}

// ignored is as this process was started: it cannot be told once a test has asked for the signal.
var ignored = signal.Ignored(syscall.SIGHUP)

// It runs itself as a process that is to be ended.
func TestOnceWatchHasEndedSIGHUPEndsTheProcessAgain(t *testing.T) {
	const inside = "ENVCONFIG_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		ctx, cancel := context.WithCancel(t.Context())
		envconfig.Watch(ctx, "", func(pool.Config) error { cancel(); return nil },
			envconfig.WithEnviron([]string{enclaveA}))
		hangUp(t)
		select {} // not to be left alive
	}
	if ignored {
		t.Skip("this process was started with SIGHUP ignored")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"=1")
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGHUP {
		t.Errorf("the process ended with %v", err)
	}
}
