package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/examples/internal/hostile"
)

func TestMain(m *testing.M) {
	if os.Getenv(hostile.ChildEnv) != "" {
		if err := hostile.Child(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "hostile:", err)
			os.Exit(exitBroken)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func TestHostilePrintsAndWritesItsReport(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	var out, errs bytes.Buffer
	args := []string{"-attacks", "garbage", "-storm", "300ms", "-health-timeout", "200ms", "-o", page}
	if code := run(context.Background(), args, &out, &errs); code != exitFine {
		t.Fatalf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| garbage |", "never admitted", "-storm 300ms", "CPUs"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in the page:\n%s", want, text)
		}
	}
	if !strings.HasPrefix(out.String(), "ok ") || errs.Len() > 0 {
		t.Errorf("%s%s", out.String(), errs.String())
	}
}

func TestHostileRefusesBadFlagsWithExitCode2(t *testing.T) {
	for _, args := range [][]string{{"-attacks", "kindness"}, {"-storm", "2h"}, {"extra"}} {
		var out, errs bytes.Buffer
		if code := run(context.Background(), args, &out, &errs); code != exitBadFlags || errs.Len() == 0 {
			t.Errorf("%q: exit code %d, %s", args, code, errs.String())
		}
	}
}
