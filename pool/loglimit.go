package pool

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// An enclave that comes and goes as fast as it can makes the pool write lines of
// log about it. So each kind of line, which is its message, is held to so many a
// second for each enclave; the first ones always come through, and none takes
// the place of another. There are some 25 kinds, of which an enclave can bring
// about 10 again and again.
const (
	// logRate is how many lines of a kind are written a second, for one enclave.
	logRate = 2
	// logBurst is how many may come at once: all connections of an enclave may be
	// lost together, or twice as many as MaxConns where that is more.
	logBurst = 64
)

// suppressedKey is the attribute of a line before which lines were left out: how
// many since the last that was written.
const suppressedKey = "suppressed"

// limitLog returns a logger for one enclave that is held to the limit.
func limitLog(l *slog.Logger, maxConns int) *slog.Logger {
	return slog.New(&limitedHandler{Handler: l.Handler(), limit: &logLimit{burst: max(logBurst, 2*maxConns)}})
}

// logLimit is what the handlers of one enclave's lines have in common.
type logLimit struct {
	burst   int
	kinds   sync.Map // message → *rate.Limiter; messages are constants
	omitted atomic.Uint64
}

// allows tells whether a line may be written.
func (l *logLimit) allows(r *slog.Record) bool {
	k, ok := l.kinds.Load(r.Message)
	if !ok {
		k, _ = l.kinds.LoadOrStore(r.Message, rate.NewLimiter(logRate, l.burst))
	}
	return k.(*rate.Limiter).AllowN(r.Time, 1)
}

// limitedHandler leaves lines out that are one too many.
type limitedHandler struct {
	slog.Handler
	limit *logLimit
}

// Handle implements slog.Handler.
func (h *limitedHandler) Handle(ctx context.Context, r slog.Record) error {
	if !h.limit.allows(&r) {
		h.limit.omitted.Add(1)
		return nil
	}
	if n := h.limit.omitted.Swap(0); n > 0 {
		r.AddAttrs(slog.Uint64(suppressedKey, n))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *limitedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &limitedHandler{h.Handler.WithAttrs(attrs), h.limit}
}

// WithGroup implements slog.Handler.
func (h *limitedHandler) WithGroup(name string) slog.Handler {
	return &limitedHandler{h.Handler.WithGroup(name), h.limit}
}
