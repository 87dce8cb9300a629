package stack

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/enclavepool/enclavepool/internal/target"
)

func TestMetricsAreReadWithTheirLabels(t *testing.T) {
	m, err := ParseMetrics(`# HELP active_conns Connections that callers may use.
# TYPE active_conns gauge
active_conns{enclave_id="a"} 16
active_conns{enclave_id="with \"quotes\", {braces} and \\"} 3
pool_acquire_latency_ms_bucket{enclave_id="a",le="+Inf"} 1.5e+03
resets_total{enclave_id="a",code="CANCEL"} 2
resets_total{code="REFUSED_STREAM",enclave_id="a"} 3
resets_total{enclave_id="b",code="CANCEL"} 100
up 1

go_gc_duration_seconds{quantile="0"} NaN
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(m) != 8 || m.ActiveConns("a") != 16 || m.ActiveConns(`with "quotes", {braces} and \`) != 3 || m.ActiveConns("b") != -1 {
		t.Errorf("%+v", m)
	}
	if v, ok := m.Of("pool_acquire_latency_ms_bucket", "a"); !ok || v != 1500 {
		t.Errorf("%v, %v", v, ok)
	}
	if v, ok := m.Of("up", ""); !ok || v != 1 {
		t.Errorf("without labels: %v, %v", v, ok)
	}
	if v, ok := m.Of("resets_total", "a"); !ok || v != 5 {
		t.Errorf("sum over the other labels: %v, %v", v, ok)
	}
	for _, bad := range []string{"alone", `x{a="b" 1`, "x one", `{a="b"} 1`} {
		if _, err := ParseMetrics(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestProgramsAreTakenFromTheFolderThatIsNamed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(binEnv, dir)
	never := func(text string) { t.Errorf("said %q", text) }
	if err := os.WriteFile(filepath.Join(dir, "enclave"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(context.Background(), dir, never, nil, "enclave", "gateway"); err == nil ||
		!strings.Contains(err.Error(), "not in it: gateway") || !strings.Contains(err.Error(), dir) {
		t.Errorf("one is missing: %v", err)
	}
	found, err := Find(context.Background(), dir, never, nil, "enclave")
	if err != nil || found["enclave"] != filepath.Join(dir, "enclave") {
		t.Errorf("%v, %v", found, err)
	}
}

func TestWithoutGoItIsSaidWhatIsNeeded(t *testing.T) {
	t.Setenv(binEnv, "")
	t.Setenv("PATH", t.TempDir())
	_, err := Find(context.Background(), t.TempDir(), func(string) {}, nil, "enclave", "gateway")
	for _, want := range []string{"no go command", "enclave, gateway", binEnv} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func TestTransportIsVsockWhereThisMachineHasItAndUnixElsewhere(t *testing.T) {
	works := tryVsock(context.Background()) == nil
	t.Setenv(vsockEnv, "")
	got, why, err := Choose(context.Background())
	if err != nil || (got == Vsock) != works || why == "" {
		t.Errorf("%s (%s), %v; AF_VSOCK works: %v", got, why, err, works)
	}
	t.Setenv(vsockEnv, "required")
	if got, _, err := Choose(context.Background()); (err == nil) != works || err == nil && got != Vsock {
		t.Errorf("required: %s, %v; AF_VSOCK works: %v", got, err, works)
	}
	for _, transport := range []Transport{Vsock, Unix} {
		if address := transport.Address("/run", "a"); !strings.HasPrefix(address, string(transport)+":") {
			t.Errorf("%s: %s", transport, address)
		} else if _, err := target.Parse(address); err != nil {
			t.Error(err)
		}
	}
}

func TestGatewaySaysWhereItListens(t *testing.T) {
	for end, want := range map[string]string{"": "", ", debug on [::1]:3\n": "[::1]:3"} {
		grpc, http, debug, err := addresses("gateway: gRPC on 127.0.0.1:1, HTTP on [::1]:2" + end)
		if grpc != "127.0.0.1:1" || http != "[::1]:2" || debug != want || err != nil {
			t.Errorf("%s, %s, %s, %v", grpc, http, debug, err)
		}
	}
	if _, _, _, err := addresses("hello"); err == nil {
		t.Error("took another line")
	}
}
