package pool

import (
	"errors"
	"fmt"
	"time"

	"github.com/enclavepool/enclavepool/internal/field"
)

// StreamOption changes how NewStreams keeps streams.
type StreamOption func(*streamOptions)

type streamOptions struct {
	min, max     int
	idleTimeout  time.Duration
	maxExchanges int
	idempotent   bool
}

// maxWarmStreams bounds WithMaxStreams, so that a slip of the pen does not
// cost gigabytes: a stream costs some 10 KiB on each end.
const maxWarmStreams = 1 << 16

func newStreamOptions(opts []StreamOption) streamOptions {
	o := streamOptions{min: 16, max: 1024, idleTimeout: 30 * time.Second}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// WithMinStreams sets how many streams are kept open to each enclave, idle or
// not. Where there are not slots enough, there are fewer. Default 16; 0 to
// WithMaxStreams.
func WithMinStreams(n int) StreamOption { return func(o *streamOptions) { o.min = n } }

// WithMaxStreams sets how many streams there are to each enclave at most, and
// so how many exchanges at a time; one more waits. The slots of the enclave's
// connections are a limit too. Default 1024; 1 to 65536.
func WithMaxStreams(n int) StreamOption { return func(o *streamOptions) { o.max = n } }

// WithStreamIdleTimeout sets after how long without use a stream beyond the
// minimum is closed; it is looked at once in that time, so a stream may live up
// to twice as long. Default 30s; 0: never; else at least 1ms.
func WithStreamIdleTimeout(d time.Duration) StreamOption {
	return func(o *streamOptions) { o.idleTimeout = d }
}

// WithMaxExchanges sets how many exchanges a stream carries before it is
// closed and another takes its place. Default 0: any number; else 1 or more.
func WithMaxExchanges(n int) StreamOption { return func(o *streamOptions) { o.maxExchanges = n } }

// WithIdempotent says that the enclave may get a request twice: an exchange
// that may have been processed is then repeated once on another stream,
// within its deadline. Default: it fails with Disposition Unknown.
func WithIdempotent() StreamOption { return func(o *streamOptions) { o.idempotent = true } }

// check returns what is not valid, joined: *FieldErrors.
func (o streamOptions) check(noPool, noOpen bool) error {
	var c field.Checks
	c.That(!noPool, "p", "nil", "a Pool")
	c.That(!noOpen, "open", "nil", "a function that opens a stream")
	c.That(o.max >= 1 && o.max <= maxWarmStreams, "WithMaxStreams", o.max, fmt.Sprintf("1 to %d", maxWarmStreams))
	c.That(o.min >= 0 && o.min <= max(o.max, 0), "WithMinStreams", o.min, fmt.Sprintf("0 to WithMaxStreams (%d)", o.max))
	c.That(o.idleTimeout == 0 || o.idleTimeout >= time.Millisecond, "WithStreamIdleTimeout", o.idleTimeout, "0 (never) or at least 1ms")
	c.That(o.maxExchanges >= 0, "WithMaxExchanges", o.maxExchanges, "0 (any number) or more")
	return errors.Join(c.All()...)
}
