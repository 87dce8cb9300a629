package e2e

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/load"
)

// loadgen runs the load generator for a second and returns its exit code, the report that it wrote as JSON to stdout, if
// any, and what it said on stderr.
func loadgen(t *testing.T, args ...string) (code int, report *load.Report, said string) {
	t.Helper()
	cmd := exec.CommandContext(limited(t), programs["loadgen"],
		append([]string{"-duration", "1s", "-callers", "3", "-connections", "2", "-keys", "4", "-timeout", "20s", "-json", "-"}, args...)...)
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if len(out) > 0 {
		report = new(load.Report)
		if err := json.Unmarshal(out, report); err != nil {
			t.Errorf("stdout is no report: %v\n%s", err, out)
		}
	}
	return cmd.ProcessState.ExitCode(), report, log.String()
}

func TestLoadgenVerifiesEverySignatureOfTheGateway(t *testing.T) {
	st := launch(t, 2, fewConns)
	accepted := func(e *stack.Enclave) uint64 {
		s, err := e.Stats(limited(t))
		if err != nil {
			t.Fatal(err)
		}
		return s.ConnectionsAccepted
	}
	var slowest time.Duration
	before := []uint64{accepted(st.Enclaves[0]), accepted(st.Enclaves[1])}
	for _, mode := range []string{"unary", "stream"} {
		code, r, said := loadgen(t, "-target", st.Gateway.GRPC, "-mode", mode)
		if code != 0 || r == nil {
			t.Fatalf("%s: exit code %d\n%s", mode, code, said)
		}
		if r.Failed != 0 || r.Succeeded == 0 || r.Signatures.Made != r.Succeeded || r.Signatures.Verified != r.Succeeded || string(r.Mode) != mode {
			t.Errorf("%s: %+v, %+v", mode, r.Totals, r.Signatures)
		}
		slowest = max(slowest, r.Latency.Max)
	}
	for i, e := range st.Enclaves {
		if n := accepted(e) - before[i]; n != 0 && !starved(slowest) {
			t.Errorf("enclave %s: %d connections were opened during the load", e.ID, n)
		}
	}
}

func TestLoadgenTellsByItsExitCodeWhatWasWrong(t *testing.T) {
	st := launch(t, 1, fewConns, "-sign", "echo") // what it answers does not verify
	code, r, said := loadgen(t, "-target", st.Gateway.GRPC)
	if code != 1 || r == nil || r.Signatures.Invalid != r.Succeeded || r.Signatures.Verified != 0 {
		t.Errorf("wrong signatures: exit code %d, %+v\n%s", code, r, said)
	}
	// Straight to the enclave, over whatever leads there.
	if code, _, said := loadgen(t, "-target", st.Enclaves[0].Target, "-verify=false"); code != 0 {
		t.Errorf("wrong signatures that nobody verifies: exit code %d\n%s", code, said)
	}
	if err := st.Enclaves[0].SetFaults(limited(t), `{"refuse_fraction":0.5}`); err != nil {
		t.Fatal(err)
	}
	if code, _, said := loadgen(t, "-target", st.Enclaves[0].Target, "-verify=false"); code != 1 {
		t.Errorf("failed calls: exit code %d\n%s", code, said)
	}
	st.Enclaves[0].Kill()
	if code, _, said := loadgen(t, "-target", st.Enclaves[0].Target, "-setup-timeout", "500ms"); code != 1 {
		t.Errorf("nobody there: exit code %d\n%s", code, said)
	}
	if code, _, said := loadgen(t, "-callers", "none"); code != 2 || !strings.Contains(said, "-target is missing") {
		t.Errorf("bad flags: exit code %d\n%s", code, said)
	}
}
