package main

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	"github.com/enclavepool/enclavepool/examples/internal/load/compare"
)

// comparisonOf runs the program for a moment.
func comparisonOf(inPlace bool, args ...string) (code int, stdout, stderr string) {
	var out, log bytes.Buffer
	code = run(context.Background(), append([]string{"-compare", "-quick", "-turn", "20ms", "-timeout", "10s"}, args...), &out, &log, inPlace)
	return code, out.String(), log.String()
}

func TestCompareStartsItsOwnEnclavesAndReports(t *testing.T) {
	code, out, log := comparisonOf(false, "-echo-callers", "1,2", "-signing-callers", "2", "-json", "-")
	var r compare.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || len(r.Tables) != 4 || !r.OwnProcesses {
		t.Errorf("exit code %d, stdout is not JSON alone (%v):\n%s%s", code, err, out, log)
	}
	if !strings.Contains(log, "secp256k1, 2 callers\n") || strings.Contains(log, "\r") {
		t.Errorf("stderr:\n%q", log)
	}
}

func TestCompareFailsOnErrorsAndUnreachableEnclaves(t *testing.T) {
	_, address := service(t, enclave.Options{Sign: enclave.SignEcho})
	code, out, log := comparisonOf(true, "-enclaves", "a="+address, "-echo-callers", "2")
	if code != 0 || !strings.Contains(out, "pool-streams") || !strings.Contains(log, "\r") {
		t.Errorf("exit code %d\n%s%s", code, out, log)
	}
	code, out, log = comparisonOf(true, "-enclaves", "a="+address, "-echo-callers", "2", "-timeout", "1ns")
	if code != 1 || !strings.Contains(out, "DeadlineExceeded") {
		t.Errorf("exit code %d\n%s%s", code, out, log)
	}
	code, _, log = comparisonOf(true, "-enclaves", "a="+address, "-json", filepath.Join(t.TempDir(), "none", "x"))
	if code != 1 || !strings.Contains(log, "none") {
		t.Errorf("exit code %d\n%s", code, log)
	}
}

func TestCompareReportsAllBadFlagsTogether(t *testing.T) {
	code, _, log := comparisonOf(false, "-enclaves", "a", "-rounds", "0", "-turn", "soon", "-echo-callers", "1,few", "-signing-callers", "0", "extra")
	if code != 2 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"-enclaves: ", "rounds: 0", `-turn: "soon"`, `-echo-callers: "1,few"`, "callers: 0", `"extra"`} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in\n%s", want, log)
		}
	}
	if code, _, log := comparisonOf(false, "-target", "unix:/x"); code != 2 || !strings.Contains(log, "-target") {
		t.Errorf("exit code %d\n%s", code, log)
	}
	if code, out, _ := comparisonOf(false, "-help"); code != 0 || !strings.Contains(out, "-signing-callers") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
