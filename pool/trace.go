package pool

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// What the pool does for a call is told to the span in the call's context, as
// events: how long it waited, if it did, and the connection of each attempt. A
// span that is not sampled costs one look into the context, and a slot that was
// free not even that, since there is nothing to tell before it is used.
const (
	eventWait    = "pool.wait"
	eventAttempt = "pool.attempt"
)

// waited records a wait in the queue that is over, whatever came of it.
func (m *enclaveMetrics) waited(ctx context.Context, d time.Duration) {
	m.acquired(ctx, d)
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent(eventWait, trace.WithAttributes(m.enclave, attribute.Float64("wait_ms", milliseconds(d))))
	}
}

// attempted tells the span in ctx that an attempt is about to go to c.
func (c *conn) attempted(ctx context.Context) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent(eventAttempt, trace.WithAttributes(c.enclave.metrics.enclave, attribute.Int("conn", c.index)))
	}
}
