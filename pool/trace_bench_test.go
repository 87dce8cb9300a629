package pool

import (
	"context"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// BenchmarkAttempted is all that an attempt pays for the sake of traces, in a
// context as a call has it: with a deadline, and with a span that is not
// sampled behind that or none.
func BenchmarkAttempted(b *testing.B) {
	c := (*bare32().admitted.Load())[0]
	limited := func(ctx context.Context) context.Context {
		ctx, cancel := context.WithTimeout(ctx, time.Hour)
		b.Cleanup(cancel)
		return ctx
	}
	unsampled, _ := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())).Tracer("test").Start(context.Background(), "caller")
	for name, ctx := range map[string]context.Context{
		"none": limited(context.Background()), "unsampled": limited(unsampled),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.attempted(ctx)
			}
		})
	}
}
