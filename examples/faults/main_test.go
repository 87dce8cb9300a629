package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/examples/internal/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFaultsPrintsAndWritesItsReportAndLeavesNothingBehind(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	dir, err := os.MkdirTemp("", "f") // sockets need a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	var out, errs bytes.Buffer
	if code := run(context.Background(), []string{"-quick", "-rows", "16,18", "-o", page}, &out, &errs); code != command.Fine {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## 16", "## 18", "-rows 16,18", "This was a quick run"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in the page:\n%s", want, text)
		}
	}
	if !strings.Contains(out.String(), "⇒ met") || errs.Len() > 0 {
		t.Errorf("%s%s", out.String(), errs.String())
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestTheReportOfAnEmulatedMachineGoesToStandardOutputAndSaysWhatItIsHeldTo(t *testing.T) {
	dir, err := os.MkdirTemp("", "f") // sockets need a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	var out, errs bytes.Buffer
	if code := run(context.Background(), []string{"-quick", "-emulated", "-rows", "18", "-o", "-"}, &out, &errs); code != command.Fine {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
	for _, want := range []string{"# Reliability", "emulated in software and bears", "## 18"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in the output:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "⇒") {
		t.Errorf("both forms of the report:\n%s", out.String())
	}
}

func TestFaultsRefusesBadFlagsWithExitCode2(t *testing.T) {
	for _, c := range []struct{ args, want []string }{
		{[]string{"-rows", "9", "-transport", "pigeon", "-outage", "1h", "extra"}, []string{"9 is not valid", "-transport", "pigeon", "-outage", `"extra"`}},
		{[]string{"-rows", "one"}, []string{"-rows", "numbers"}},
	} {
		var out, errs bytes.Buffer
		if code := run(context.Background(), c.args, &out, &errs); code != command.BadFlags {
			t.Errorf("%q: exit code %d", c.args, code)
		}
		for _, want := range c.want {
			if !strings.Contains(errs.String(), want) {
				t.Errorf("%q: %q is not in %q", c.args, want, errs.String())
			}
		}
	}
	var out, errs bytes.Buffer
	if code := run(context.Background(), []string{"-help"}, &out, &errs); code != command.Fine || !strings.Contains(out.String(), "-quick") {
		t.Errorf("-help: exit code %d, %q", code, out.String())
	}
}
