package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/enclavepool/enclavepool/pool"
)

// metrics measures what recording adds to taking a free slot: the same pool
// without a provider, and with OpenTelemetry's SDK and a Prometheus reader.
func (p plan) metrics(ctx context.Context) (section Section, err error) {
	srv, err := startServer(ctx)
	if err != nil {
		return Section{}, err
	}
	defer srv.stop()
	bare, closeBare, err := openPool(ctx, srv.target, 1, p.conns, 100, pool.WithMeterProvider(noop.NewMeterProvider()))
	if err != nil {
		return Section{}, err
	}
	defer closeBare()
	registry := prometheus.NewRegistry()
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return Section{}, err
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer func() { err = errors.Join(err, provider.Shutdown(context.Background())) }()
	read, closeRead, err := openPool(ctx, srv.target, 1, p.conns, 100, pool.WithMeterProvider(provider))
	if err != nil {
		return Section{}, err
	}
	defer closeRead()

	contenders := []contender{acquireByID(bare), acquireByID(read)}
	contenders[0].name, contenders[1].name = "without a provider", "SDK and Prometheus reader"
	turns, err := p.admissionTurns(ctx, contenders)
	if err != nil {
		return Section{}, err
	}
	times, err := inTurns(p.rounds*p.turns, turns...)
	if err != nil {
		return Section{}, err
	}
	for i, c := range contenders {
		section.Rows = append(section.Rows, result(c.name, "ns", times[2*i], times[0]).to("without"))
	}
	for i, c := range contenders {
		name := fmt.Sprintf("%s, %d goroutines", c.name, parallel)
		section.Rows = append(section.Rows, result(name, "ns", times[2*i+1], times[1]).to("without, as many"))
	}
	allocs, err := allocationRows(contenders[1].name, contenders[1].loop, 10_000)
	if err != nil {
		return Section{}, err
	}
	section.Rows = append(section.Rows, allocs...)
	families, err := registry.Gather()
	if err != nil {
		return Section{}, err
	}
	recorded := false
	for _, f := range families {
		recorded = recorded || f.GetName() == "pool_acquire_latency_ms" && f.GetMetric()[0].GetHistogram().GetSampleCount() > 0
	}
	if !recorded {
		return Section{}, errors.New("the reader has seen no acquire")
	}
	section.Notes = []string{
		"Acquire and Release by enclave ID of a slot that is free: one value in the histogram pool_acquire_latency_ms each",
		fmt.Sprintf("%d turns of %v; the reader is registered, nobody scrapes meanwhile", p.rounds*p.turns, p.turn),
	}
	return section, nil
}
