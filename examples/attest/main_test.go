package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/examples/internal/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOneEnclaveIsAdmittedAndFourImpostorsAreRefused(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), nil, &out, &errs); code != command.Fine {
		t.Fatalf("exit code %d: %s%s", code, out.String(), errs.String())
	}
	if n := strings.Count(out.String(), "refused, 0 calls heard"); n != 4 || strings.Count(out.String(), "admitted: its signature verifies") != 1 {
		t.Errorf("%d refused:\n%s", n, out.String())
	}
}

func TestTheExitCodeSaysHowItWent(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-conns", "3"}, &out, &errs); code != command.BadFlags || !strings.Contains(errs.String(), "usage") {
		t.Errorf("arguments: exit code %d, %s", code, errs.String())
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if code := run(ended, nil, &out, &errs); code != command.Failed || !strings.Contains(out.String(), "FAILED") {
		t.Errorf("interrupted: exit code %d, %s", code, out.String())
	}
}
