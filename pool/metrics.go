package pool

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/health"
	"github.com/enclavepool/enclavepool/internal/h2tap"
)

const meterName = "github.com/enclavepool/enclavepool/pool"

// acquireBuckets are the bounds of pool_acquire_latency_ms, 50 µs to 500 ms.
var acquireBuckets = []float64{0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500}

// recoveryBuckets are the bounds of pool_recovery_duration_ms, 5 ms to 1 minute.
var recoveryBuckets = []float64{5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 60000}

// metrics are the pool's instruments. Only the wait is recorded as it happens;
// everything else is read when somebody collects.
type metrics struct {
	wait         metric.Float64Histogram
	outage       metric.Float64Histogram
	registration metric.Registration
}

func newMetrics(provider metric.MeterProvider, p *Pool) (*metrics, error) {
	meter := provider.Meter(meterName)
	m := &metrics{}
	var err error
	// The unit is in the name, so that it is the same in every exporter.
	if m.wait, err = meter.Float64Histogram("pool_acquire_latency_ms",
		metric.WithDescription("Time in milliseconds that callers waited for a stream slot; 0 when one was free."),
		metric.WithExplicitBucketBoundaries(acquireBuckets...)); err != nil {
		return nil, err
	}
	if m.outage, err = meter.Float64Histogram("pool_recovery_duration_ms",
		metric.WithDescription("Time in milliseconds from the loss of an enclave's last connection to the first that callers could use again."),
		metric.WithExplicitBucketBoundaries(recoveryBuckets...)); err != nil {
		return nil, err
	}
	var observables []metric.Observable
	gauge := func(name, description string) metric.Int64ObservableGauge {
		g, gaugeErr := meter.Int64ObservableGauge(name, metric.WithDescription(description))
		if gaugeErr != nil {
			err = gaugeErr
		}
		observables = append(observables, g)
		return g
	}
	counter := func(name, description string) metric.Int64ObservableCounter {
		c, counterErr := meter.Int64ObservableCounter(name, metric.WithDescription(description))
		if counterErr != nil {
			err = counterErr
		}
		observables = append(observables, c)
		return c
	}
	active := gauge("active_conns", "Connections that callers may use.")
	minimum := gauge("pool_min_conns", "Connections that are always kept: the configured minimum.")
	maximum := gauge("pool_max_conns", "Connections that there may be under load: the configured maximum.")
	state := gauge("conn_pool_state", "1 for the state the enclave's pool is in, 0 for the others.")
	inFlight := gauge("pool_in_flight", "Stream slots in use.")
	capacity := gauge("pool_capacity", "Stream slots there are, on connections that callers may use.")
	waiters := gauge("pool_waiters", "Callers queued for a stream slot.")
	resets := counter("grpc_stream_resets", "RST_STREAM frames received, other than NO_ERROR, by code.")
	exhausted := counter("pool_exhausted", "Callers turned away because every slot was taken.")
	attempts := counter("pool_dials", "Attempts to connect that are over, by result.")
	probes := counter("pool_probes", "Health probes on admitted connections, by result.")
	ejections := counter("pool_ejections", "Connections taken out by failed health probes, or for a flood of frames.")
	if err != nil {
		return nil, err
	}
	m.registration, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, e := range p.all() {
			em, s := e.metrics, e.stats()
			o.ObserveInt64(active, int64(s.HealthyConns), em.observe...)
			o.ObserveInt64(minimum, int64(s.MinConns), em.observe...)
			o.ObserveInt64(maximum, int64(s.MaxConns), em.observe...)
			o.ObserveInt64(inFlight, int64(s.InFlight), em.observe...)
			o.ObserveInt64(capacity, int64(s.Capacity), em.observe...)
			o.ObserveInt64(waiters, int64(s.Waiters), em.observe...)
			o.ObserveInt64(exhausted, int64(s.Exhausted), em.observe...)
			o.ObserveInt64(ejections, int64(s.Ejections), em.observe...)
			for i, opts := range em.attempts {
				o.ObserveInt64(attempts, int64(e.attempts[i].Load()), opts...)
			}
			for i, opts := range em.probes {
				o.ObserveInt64(probes, int64(e.probes[i].Load()), opts...)
			}
			now := poolState(s.State, e.full.Load())
			for name, opts := range em.states {
				o.ObserveInt64(state, b2i(name == now), opts...)
			}
			for code := range em.resets {
				if n := e.resets[code].Load(); n > 0 || alwaysShown(h2tap.Code(code)) {
					o.ObserveInt64(resets, int64(n), em.resets[code]...)
				}
			}
		}
		return nil
	}, observables...)
	return m, err
}

func (m *metrics) close() error { return m.registration.Unregister() }

const stateExhausted = "exhausted"

// poolState is what conn_pool_state says: the enclave's state, or exhausted
// where it is Healthy and has no slot left.
func poolState(s breaker.State, full bool) string {
	if s == breaker.Healthy && full {
		return stateExhausted
	}
	return s.String()
}

// alwaysShown tells whether a reset code is exported before it first occurs, so
// that its first occurrence is an increase.
func alwaysShown(c h2tap.Code) bool {
	return c == h2tap.Cancel || c == h2tap.InternalError || c == h2tap.RefusedStream
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// How an attempt to connect ends.
const (
	attemptConnected = iota
	attemptFailed
	attemptTimedOut
	attemptRejected
)

var attemptResults = [...]string{attemptConnected: "connected", attemptFailed: "failed", attemptTimedOut: "timed_out", attemptRejected: "rejected"}

// resetCodes is how many codes of RST_STREAM are told apart: those of RFC 9113
// and one for all others.
const resetCodes = int(h2tap.HTTP11Required) + 2

// enclaveMetrics has the options made ready, so that recording allocates nothing.
type enclaveMetrics struct {
	enclave  attribute.KeyValue
	wait     metric.Float64Histogram
	outage   metric.Float64Histogram
	record   []metric.RecordOption
	observe  []metric.ObserveOption
	states   map[string][]metric.ObserveOption
	resets   [resetCodes][]metric.ObserveOption
	attempts [len(attemptResults)][]metric.ObserveOption
	probes   [health.Results][]metric.ObserveOption
	waits    *waitTally // for Stats; the enclave's record has it
}

func (m *metrics) forEnclave(id string, r *record) *enclaveMetrics {
	enclave := attribute.String("enclave_id", id)
	observe := func(more ...attribute.KeyValue) []metric.ObserveOption {
		return []metric.ObserveOption{metric.WithAttributeSet(attribute.NewSet(append(more, enclave)...))}
	}
	em := &enclaveMetrics{
		enclave: enclave,
		wait:    m.wait,
		outage:  m.outage,
		record:  []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(enclave))},
		observe: observe(),
		states:  map[string][]metric.ObserveOption{},
		waits:   &r.waits,
	}
	for _, s := range []string{breaker.Healthy.String(), breaker.Degraded.String(), breaker.Draining.String(), stateExhausted} {
		em.states[s] = observe(attribute.String("state", s))
	}
	for code := range em.resets {
		name := "OTHER"
		if code < resetCodes-1 {
			name = h2tap.Code(code).String()
		}
		em.resets[code] = observe(attribute.String("code", name))
	}
	for i, name := range attemptResults {
		em.attempts[i] = observe(attribute.String("result", name))
	}
	for i := range em.probes {
		em.probes[i] = observe(attribute.String("result", strings.ReplaceAll(health.Result(i).String(), " ", "_")))
	}
	return em
}

// acquired records how long a caller waited for a slot, whether it got one or
// gave up. One that was turned away at once is not recorded: it is counted as
// exhausted.
func (m *enclaveMetrics) acquired(ctx context.Context, waited time.Duration) {
	if waited > 0 {
		m.waits.add(waited)
	}
	m.wait.Record(ctx, milliseconds(waited), m.record...)
}

// recovered records the length of a total loss that is over.
func (m *enclaveMetrics) recovered(after time.Duration) {
	m.outage.Record(context.Background(), milliseconds(after), m.record...)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
