package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	"github.com/enclavepool/enclavepool/examples/internal/load"
	"github.com/enclavepool/enclavepool/examples/internal/load/compare"
)

func TestMain(m *testing.M) {
	if compare.PlayEnclave() {
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// service runs an enclave until the test ends and returns its target.
func service(t *testing.T, o enclave.Options) (*enclave.Server, string) {
	t.Helper()
	s, err := enclave.New(o)
	if err != nil {
		t.Fatal(err)
	}
	address := "unix:" + filepath.Join(t.TempDir(), "e.sock")
	lis, err := enclave.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	return s, address
}

// loadgen runs the program for a moment.
func loadgen(inPlace bool, args ...string) (code int, stdout, stderr string) {
	var out, log bytes.Buffer
	code = run(context.Background(), append([]string{"-duration", "150ms", "-callers", "3", "-interval", "60ms"}, args...), &out, &log, inPlace)
	return code, out.String(), log.String()
}

func TestLoadgenReportsForPeopleAndMachines(t *testing.T) {
	_, address := service(t, enclave.Options{})
	file := filepath.Join(t.TempDir(), "report.json")
	code, out, log := loadgen(false, "-target", address, "-json", file, "-mode", "stream", "-algorithm", "ed25519")
	if code != 0 || !strings.Contains(out, "0 invalid") || strings.Count(log, "\n") < 2 || strings.Contains(log, "\r") {
		t.Errorf("exit code %d\n%s%s", code, out, log)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r load.Report
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if r.Mode != load.Stream || r.Succeeded == 0 || r.Signatures.Verified != r.Succeeded || r.Connections != 4 {
		t.Errorf("report %+v", r)
	}

	code, out, log = loadgen(true, "-target", address, "-json", "-")
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		t.Errorf("exit code %d, stdout is not JSON alone (%v):\n%s", code, err, out)
	}
	if !strings.Contains(log, "unary, 3 callers") || !strings.Contains(log, "\r") {
		t.Errorf("stderr:\n%q", log)
	}
}

func TestLoadgenFailsOnSignaturesThatDoNotVerify(t *testing.T) {
	_, address := service(t, enclave.Options{Sign: enclave.SignEcho})
	if code, out, _ := loadgen(false, "-target", address, "-fail-on-error=false"); code != 1 || !strings.Contains(out, "invalid     such as") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, out, _ := loadgen(false, "-target", address, "-verify=false"); code != 0 || !strings.Contains(out, "0 verified") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestLoadgenFailsOnErrorsUnlessToldNotTo(t *testing.T) {
	_, address := service(t, enclave.Options{Faults: enclave.Faults{RefuseFraction: 0.5}}) // creating keys is tried again
	if code, out, _ := loadgen(false, "-target", address); code != 1 || !strings.Contains(out, "Unavailable") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, out, _ := loadgen(false, "-target", address, "-fail-on-error=false"); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestLoadgenFailsWhenNobodyAnswers(t *testing.T) {
	code, _, log := loadgen(false, "-target", "unix:"+filepath.Join(t.TempDir(), "none"), "-setup-timeout", "200ms")
	if code != 1 || !strings.Contains(log, "creating key") {
		t.Errorf("exit code %d\n%s", code, log)
	}
}

func TestLoadgenReportsAllBadFlagsTogether(t *testing.T) {
	code, _, log := loadgen(false, "-callers", "many", "-duration", "-3s", "-mode", "sideways", "-rate", "fast", "-timeout", "0s",
		"-keys", "0", "-algorithm", "rsa", "-connections", "0", "-verify-every", "0", "-interval", "0s", "extra")
	if code != 2 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"-target is missing", "-callers: \"many\"", "duration: -3s", "mode: sideways", "-rate: \"fast\"", "timeout: 0s",
		"keys: 0", "-algorithm: \"rsa\"", "-connections: 0", "-verify-every: 0", "-interval: 0s", "\"extra\""} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in\n%s", want, log)
		}
	}
	if code, _, log := loadgen(false, "-target", "vsock:2:1", "-nonsense"); code != 2 || !strings.Contains(log, "-nonsense") {
		t.Errorf("exit code %d\n%s", code, log)
	}
	if code, _, log := loadgen(false, "-target", "vsock:2:1"); code != 2 || !strings.Contains(log, "vsock:2:1") {
		t.Errorf("exit code %d\n%s", code, log)
	}
	if code, out, _ := loadgen(false, "-help"); code != 0 || !strings.Contains(out, "-verify-every") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
