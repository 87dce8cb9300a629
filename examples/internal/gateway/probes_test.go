package gateway

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
)

func (r *rig) readiness(t *testing.T) (int, readiness) {
	t.Helper()
	code, body := r.get(t, "/readyz")
	var got readiness
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return code, got
}

func TestReadyWhenEveryEnclaveIsAndTheMissingOnesAreNamed(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a", "b")
	if err := r.gateway.pool.Ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	if code, got := r.readiness(t); code != 200 || got.Status != "ready" || len(got.Missing) != 0 {
		t.Errorf("%d %+v", code, got)
	}
	r.enclaves["b"].Close()
	eventually(t, "the gateway notices", func() bool { code, _ := r.readiness(t); return code == 503 })
	_, got := r.readiness(t)
	if got.Status != "not_ready" || len(got.Missing) != 1 || got.Missing[0].EnclaveID != "b" || got.Missing[0].MinConns != 2 || got.Missing[0].Cause == "" {
		t.Errorf("%+v", got)
	}
	if code, body := r.get(t, "/healthz"); code != 200 || !strings.Contains(body, "alive") {
		t.Errorf("/healthz: %d %s", code, body)
	}
	startEnclave(t, r.targets["b"], enclave.Options{})
	eventually(t, "the gateway is ready again", func() bool { code, _ := r.readiness(t); return code == 200 })
}

func TestHealthServiceAnswers(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	for _, service := range []string{"", "signer.v1.SignerService"} {
		res, err := healthpb.NewHealthClient(r.conn).Check(limited(t), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || res.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("service %q: %v, %v", service, res, err)
		}
	}
}

// sample is a line of the metrics page: name, labels, value.
var sample = regexp.MustCompile(`(?m)^([a-z_]+)(\{.*\})? (\S+)$`)

func TestMetricsPageHasExactlyTheNamesAndLabelsOfThePool(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a", "b")
	if err := r.gateway.pool.Ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	r.create(t, r.keyAt(t, "a"), edAlg)
	code, page := r.get(t, "/metrics")
	if code != 200 {
		t.Fatal(code, page)
	}
	var names []string
	values := map[string]string{}
	for _, m := range sample.FindAllStringSubmatch(page, -1) {
		values[m[1]+m[2]] = m[3]
		if !strings.HasPrefix(m[1], "go_") && !strings.HasPrefix(m[1], "process_") && !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	required := []string{"active_conns", "grpc_stream_resets_total", "pool_acquire_latency_ms_bucket",
		"pool_acquire_latency_ms_count", "pool_acquire_latency_ms_sum"}
	for _, name := range required {
		if !slices.Contains(names, name) {
			t.Errorf("%s is missing among %v", name, names)
		}
	}
	for _, name := range names {
		if strings.Contains(name, "scope") || strings.Contains(name, "target_info") {
			t.Errorf("%s is on the page", name)
		}
	}
	if strings.Contains(page, "otel_scope") {
		t.Error("otel_scope labels are on the page")
	}
	for key, want := range map[string]string{
		`active_conns{enclave_id="a"}`:                             "2",
		`active_conns{enclave_id="b"}`:                             "2",
		`grpc_stream_resets_total{code="CANCEL",enclave_id="a"}`:   "0",
		`conn_pool_state{enclave_id="a",state="healthy"}`:          "1",
		`conn_pool_state{enclave_id="a",state="exhausted"}`:        "0",
		`pool_acquire_latency_ms_count{enclave_id="a"}`:            "1",
		`pool_acquire_latency_ms_bucket{enclave_id="a",le="500"}`:  "1",
		`pool_acquire_latency_ms_bucket{enclave_id="a",le="+Inf"}`: "1",
	} {
		if got := values[key]; got != want {
			t.Errorf("%s is %q, want %s", key, got, want)
		}
	}
	if _, ok := values[`pool_acquire_latency_ms_bucket{enclave_id="a",le="0.05"}`]; !ok {
		t.Error("there is no bucket of 50 µs")
	}
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total"} {
		if _, ok := values[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}
