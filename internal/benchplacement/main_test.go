package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Small, and without etcd: that every figure is there, not what it is.
func TestEveryFigureIsMeasured(t *testing.T) {
	folder := t.TempDir()
	var out, log bytes.Buffer
	code := run(context.Background(), []string{"-keys", "3000", "-cached", "5000", "-length", "20ms", "-folder", folder, "-only", "bbolt,memory,large"}, &out, &log)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, log.String())
	}
	for _, want := range []string{"create on bbolt, 1 callers", "miss on bbolt, 64 callers", "memory for 5.0 k keys", "cold start: open the file", "(mirror)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
