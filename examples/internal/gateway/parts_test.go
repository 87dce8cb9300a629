package gateway

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBudgetLetsATenthMoreThroughInTheLongRun(t *testing.T) {
	var b budget
	for range budgetTokens {
		b.failed() // used up
	}
	allowed := 0
	for range 10000 {
		for range 10 {
			b.succeeded()
		}
		if b.failed() {
			allowed++
		}
	}
	if allowed != 0 {
		t.Errorf("%d repetitions while every eleventh exchange fails", allowed)
	}
	for range 10 * budgetTokens {
		b.succeeded()
	}
	if !b.failed() {
		t.Error("no repetition after recovery")
	}
}

func TestListenReplacesAnAbandonedSocketAndNoOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix:" + path); err == nil {
		t.Fatal("took the socket of a listener that is alive")
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	lis, err := Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	lis.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix:" + path); err == nil {
		t.Error("replaced a file")
	}
	for _, address := range []string{"", "unix:", "unix:" + strings.Repeat("x", 108), "localhost", "localhost:http", "localhost:70000", "vsock:1:2"} {
		if _, err := Listen(address); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", address)) {
			t.Errorf("%q: %v", address, err)
		}
	}
}
