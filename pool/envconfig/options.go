package envconfig

import (
	"log/slog"
	"os"
	"syscall"
	"time"
)

// Option changes how Watch works.
type Option func(*options)

type options struct {
	interval time.Duration
	signals  []os.Signal
	logger   *slog.Logger
	environ  func() []string
	result   func(error)
}

// defaultSignals has SIGHUP, which platforms without it never deliver.
func defaultSignals() []os.Signal { return []os.Signal{syscall.SIGHUP} }

// WithLogger sets where Watch logs what it has done. Default: slog.Default(). A
// nil logger changes nothing.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithInterval sets how often the file is read; a change is applied after one
// to two intervals. Default 1s; 0 or less: only on a signal.
func WithInterval(d time.Duration) Option { return func(o *options) { o.interval = d } }

// WithSignals sets what the file is applied on, changed or not. Default SIGHUP;
// none: on no signal. While Watch runs these signals do not end the process.
func WithSignals(signals ...os.Signal) Option { return func(o *options) { o.signals = signals } }

// WithEnviron sets the environment that the file's values win over, as Load's
// environ. Default: os.Environ, asked each time.
func WithEnviron(environ []string) Option {
	return func(o *options) { o.environ = func() []string { return environ } }
}

// WithResult has f told whether the pool is at what the file says now: nil after
// it was applied, else why it is not. f is called by Watch's own goroutine, so it
// must not wait for long.
func WithResult(f func(error)) Option { return func(o *options) { o.result = f } }
