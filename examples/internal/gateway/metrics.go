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

	"github.com/enclavepool/enclavepool/routing"
)

// metrics is a Prometheus registry of the gateway's own, with what the pool records in it and the usual figures of
// the Go runtime and the process. An application that has a registry passes that to the exporter instead.
type metrics struct {
	registry *prometheus.Registry
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
		registry: registry,
		signs:    counts,
		config:   config,
		provider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter)),
		page:     promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
	}, nil
}

func (m *metrics) meters() metric.MeterProvider { return m.provider }

// follow adds the figures of a directory, where there is one.
func (m *metrics) follow(p *placed) {
	if p == nil {
		return
	}
	gauge := func(name, help string, f func(routing.PlacedStats) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return f(p.Stats()) }))
	}
	counter := func(name, help string, f func(routing.PlacedStats) uint64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return float64(f(p.Stats())) }))
	}
	gauge("gateway_directory_current", "1 while changes of the placement directory arrive as they are made, 0 while it is away.",
		func(s routing.PlacedStats) float64 {
			if s.State == routing.PlacedCurrent {
				return 1
			}
			return 0
		})
	gauge("gateway_directory_kept_keys", "About how many keys' places are in memory.",
		func(s routing.PlacedStats) float64 { return float64(s.Kept) })
	counter("gateway_directory_lookups_total", "Questions where a key lives, which memory could not answer.",
		func(s routing.PlacedStats) uint64 { return s.Lookups })
	counter("gateway_directory_placed_total", "Places of new keys that this gateway has recorded.",
		func(s routing.PlacedStats) uint64 { return s.Placed })
	counter("gateway_directory_stale_hits_total", "Requests that were routed from memory while the directory was away.",
		func(s routing.PlacedStats) uint64 { return s.StaleHits })
}

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
