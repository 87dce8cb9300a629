package gateway

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// metrics is a Prometheus registry of the gateway's own, with what the pool records in it and the usual figures of
// the Go runtime and the process. An application that has a registry passes that to the exporter instead.
type metrics struct {
	provider *sdkmetric.MeterProvider
	page     http.Handler
	signs    *signs
	config   prometheus.Gauge // 1: the configuration as it stands is in effect
}

func newMetrics() (*metrics, error) {
	registry := prometheus.NewRegistry()
	// The instruments carry their unit in the name, so the exporter adds none; without the scope and the target there
	// is enclave_id alone to tell series apart.
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry),
		otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo())
	if err != nil {
		return nil, err
	}
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counts := newSigns()
	config := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gateway_config_in_effect",
		Help: "1 while the gateway runs on the configuration as it stands, 0 while that was rejected or cannot be read.",
	})
	config.Set(1)
	registry.MustRegister(counts.total, config)
	return &metrics{
		signs:    counts,
		config:   config,
		provider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter)),
		page:     promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
	}, nil
}

func (m *metrics) meters() metric.MeterProvider { return m.provider }

func (m *metrics) close(ctx context.Context) error { return m.provider.Shutdown(ctx) }

// signs counts requests to sign by the enclave that the key belongs to and by who served them: "owner", "other", where
// the key had spilled, or "none", when there was no signature. The share of the first is the hit rate of the routing.
type signs struct{ total *prometheus.CounterVec }

func newSigns() *signs {
	return &signs{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gateway_signs_total",
		Help: "Requests to sign, by the enclave that owns the key and by who served them: owner, other or none.",
	}, []string{"enclave_id", "served_by"})}
}

// count counts a request that has come to its end.
func (s *signs) count(t *trip, signed bool) {
	by := "other"
	switch {
	case !signed:
		by = "none"
	case t.enclaveID == t.ownerID:
		by = "owner"
	}
	s.total.WithLabelValues(t.ownerID, by).Inc()
}
