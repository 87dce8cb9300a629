package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc/grpclog"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	"github.com/enclavepool/enclavepool/examples/internal/hostile"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/statuspage"
)

// grpcLog is gRPC's own log, as talkative as it can be made. It can be set only before gRPC is used.
var grpcLog sink

func init() { grpclog.SetLoggerV2(grpclog.NewLoggerV2WithVerbosity(&grpcLog, &grpcLog, &grpcLog, 99)) }

func TestNothingThatACallCarriesReachesALogAMetricASpanOrAnError(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tracing := trace.NewTracerProvider(trace.WithSyncer(spans))
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(tracing)
	t.Cleanup(func() { otel.SetTracerProvider(before); tracing.Shutdown(context.Background()) })

	inBothTransports(t, func(t *testing.T, transport Transport) {
		f := newFlow()
		grpcBefore := len(grpcLog.String())
		log := slog.New(slog.NewTextHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}))
		speaking := filepath.Join(t.TempDir(), "speaks")
		lis, err := net.Listen("unix", speaking)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() {
			served <- hostile.Speak(lis, strings.Join([]string{string(f.word.data), string(f.keyID.data)}, " "))
		}()
		t.Cleanup(func() { lis.Close(); <-served })

		f.rig = start(t, enclave.Options{Logger: log}, func(c *Config) {
			c.Transport, c.Logger = transport, log
			c.Pool.MinConns, c.Pool.MaxConns, c.Pool.MaxConcurrentStreams, c.Pool.MaxWaiters = 1, 1, 2, 0
		}, "a")
		if err := f.gateway.pool.Ready(limited(t)); err != nil {
			t.Fatal(err)
		}
		f.all(t, 5*time.Second)
		if f.failures > 0 {
			t.Fatalf("what should work does not: %s", f.told)
		}
		f.bad(t)
		cases := map[string]func(){
			"exhausted": func() {
				for range 2 {
					l, err := f.gateway.pool.Acquire(limited(t), "a")
					if err != nil {
						break // a warm stream has the slot
					}
					defer l.Release()
				}
				f.all(t, 5*time.Second)
			},
			"deadline": func() {
				f.enclaves["a"].SetFaults(enclave.Faults{StallFraction: 1})
				f.all(t, 50*time.Millisecond)
				f.enclaves["a"].SetFaults(enclave.Faults{})
			},
			"refused": func() {
				f.enclaves["a"].SetFaults(enclave.Faults{RefuseFraction: 1})
				f.all(t, time.Second)
				f.enclaves["a"].SetFaults(enclave.Faults{ResetFraction: 1})
				f.all(t, time.Second)
				f.enclaves["a"].SetFaults(enclave.Faults{})
			},
			"killed": func() {
				f.enclaves["a"].Close()
				f.all(t, 100*time.Millisecond)
				f.all(t, 100*time.Millisecond)
			},
			"hostile": func() {
				cfg := pool.DefaultConfig()
				cfg.MinConns, cfg.MaxConns = 1, 1
				cfg.Enclaves = []pool.Enclave{{ID: "speaks", Target: "unix:" + speaking}}
				if err := f.gateway.pool.Update(cfg); err != nil {
					t.Fatal(err)
				}
				// It behaves for a moment, and then speaks.
				for began, already := time.Now(), f.failures; f.failures < already+20 && time.Since(began) < patience; {
					f.all(t, 100*time.Millisecond)
				}
				for id, e := range f.gateway.pool.Stats().Enclaves {
					fmt.Fprintf(f.told, "%s: %+v\n", id, e)
				}
			},
		}
		for _, name := range []string{"exhausted", "deadline", "refused", "killed", "hostile"} {
			already := f.failures
			cases[name]()
			if f.failures == already {
				t.Errorf("%s: nothing failed", name)
			}
		}
		debug := httptest.NewRecorder()
		statusPage := statuspage.New(f.gateway.pool)
		statusPage.ServeHTTP(debug, httptest.NewRequest(http.MethodGet, "/debug/pool?data", nil))
		statusPage.Close()
		code, page := f.get(t, "/metrics")
		_, ready := f.get(t, "/readyz")
		if code != http.StatusOK {
			t.Errorf("/metrics: %d", code)
		}
		_ = f.shutdown(limited(t))
		var traced strings.Builder
		events := 0
		for _, s := range spans.GetSpans() {
			events += len(s.Events)
			fmt.Fprintf(&traced, "%+v\n", s)
		}
		if !strings.Contains(traced.String(), "pool.attempt") || debug.Code != http.StatusOK || debug.Body.Len() < 100 {
			t.Errorf("of spans there is %q, and of the status page %d %q", traced.String(), debug.Code, debug.Body)
		}
		spans.Reset()
		t.Logf("%d failures; %d bytes of log, %d of gRPC's log, %d of errors, %d of metrics, %d of the status page, %d of spans with %d events",
			f.failures, len(f.logs.String()), len(grpcLog.String())-grpcBefore, len(f.told.String()), len(page), debug.Body.Len(), traced.Len(), events)
		for where, text := range map[string]string{
			"a log": f.logs.String(), "gRPC's log": grpcLog.String()[grpcBefore:], "an error": f.told.String(), "/metrics": page, "/readyz": ready,
			"a span": traced.String(), "the status page": debug.Body.String(),
		} {
			for i, finding := range findings(text, f.marks) {
				if i < 5 {
					t.Errorf("%s: %s", where, finding)
				}
			}
			if where == "a log" && !strings.Contains(text, "level=DEBUG") {
				t.Error("nothing was logged at level debug")
			}
		}
		// That they would be found if they were there.
		fmt.Fprintf(f.logs, "planted: %q\n", f.keyID.data)
		if len(findings(f.logs.String(), f.marks)) == 0 {
			t.Error("a mark that was planted in the log is not found")
		}
	})
}
