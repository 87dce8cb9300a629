package stack

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func TestProcessDiesWithTheOneThatStartedIt(t *testing.T) {
	p := helper(t, "parent", filepath.Join(t.TempDir(), "child.log"))
	line, err := p.ready(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(line)
	if err != nil {
		t.Fatalf("the parent said %q", line)
	}
	if err := syscall.Kill(child, 0); err != nil {
		t.Fatalf("the child does not run: %v", err)
	}
	if group, err := syscall.Getpgid(child); err != nil || group != child {
		t.Errorf("the child is in process group %d (%v), want one of its own", group, err)
	}
	p.Kill()
	ctx := limited(t)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ended(child) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the child has outlived its parent")
		}
	}
}

func TestFrozenProcessGoesOnWhenThawed(t *testing.T) {
	p := helper(t, "serve", "argument")
	if _, err := p.ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	reaches := func(want byte) {
		t.Helper()
		ctx := limited(t)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for state(p.cmd.Process.Pid) != want {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("the process is in state %c, want %c", state(p.cmd.Process.Pid), want)
			}
		}
	}
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	reaches('T')
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(limited(t)); err != nil {
		t.Error(err)
	}
}

// ended reports whether a process is gone, or is a zombie that whoever inherited it has yet to reap.
func ended(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	return state(pid) == 'Z'
}

// state is the letter of a process's state, from /proc; 0: it is not known.
func state(pid int) byte {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(stat, []byte(") ")) // behind the name, which is in parentheses
	if len(after) == 0 {
		return 0
	}
	return after[0]
}
