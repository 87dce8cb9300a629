package envconfig

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// Watch keeps a pool at what the file at path, a directory too, says, until ctx
// ends, and returns then: run it in a goroutine of its own. apply is usually
// Pool.Update; it is never called twice at the same time, nor after Watch has
// returned.
//
// The file is loaded, as by Load, and applied once at the start, so that a
// change since the pool was made is not missed; again when it has changed; and
// on SIGHUP, changed or not. Whatever its content is reached through may be
// exchanged, as Kubernetes exchanges a link. A content that is not valid, or
// that apply refuses, changes nothing, and neither does a file that is away or
// cannot be read: the error is logged, and the next change is tried again.
//
// The file is read every second rather than waited for by inotify or the like: a
// few kilobytes cost nothing, and there is no limit on watches to run into, no
// file system without events, and no difference between a file that is
// written, replaced, linked anew or removed. A new content is applied once it
// has been the same in two readings, so a burst of changes is applied once, and
// nothing half written.
func Watch(ctx context.Context, path string, apply func(pool.Config) error, opts ...Option) {
	o := options{interval: time.Second, signals: defaultSignals(), logger: slog.Default(), environ: os.Environ,
		result: func(error) {}}
	for _, opt := range opts {
		opt(&o)
	}
	w := &watcher{options: o, path: path, apply: apply}
	w.logger = o.logger.With("path", path)
	var signals chan os.Signal
	if len(o.signals) > 0 {
		signals = make(chan os.Signal, 1) // more of them while one is served say nothing new
		signal.Notify(signals, o.signals...)
		defer signal.Stop(signals)
	}
	var ticks <-chan time.Time
	if o.interval > 0 {
		ticker := time.NewTicker(o.interval)
		defer ticker.Stop()
		ticks = ticker.C
	}
	w.reload("start")
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			if ctx.Err() == nil {
				w.reload(s.String())
			}
		case <-ticks:
			if ctx.Err() == nil {
				w.look()
			}
		}
	}
}

// watcher belongs to the goroutine that runs Watch.
type watcher struct {
	options
	path    string
	apply   func(pool.Config) error
	seen    *string // the content that was last dealt with
	pending *string // another, seen once
	outcome error   // what became of it
	away    string  // why the file could not be read last time; empty: it could
}

// reload applies what the file says now.
func (w *watcher) reload(trigger string) {
	s, err := read(w.path)
	if err != nil {
		w.away = "" // say it again
		w.unreadable(err)
		return
	}
	w.away = ""
	w.use(s, trigger)
}

// look applies what the file says if that is new, and has been the same twice.
func (w *watcher) look() {
	s, err := read(w.path)
	if err != nil {
		w.pending = nil
		w.unreadable(err)
		return
	}
	if w.away != "" {
		w.away = ""
		w.logger.Info("configuration can be read again")
		if same(s.raw, w.seen) {
			w.result(w.outcome)
		}
	}
	switch {
	case same(s.raw, w.seen):
		w.pending = nil
	case same(s.raw, w.pending):
		w.use(s, "file changed")
	default:
		w.pending = &s.raw
	}
}

func same(raw string, other *string) bool { return other != nil && *other == raw }

func (w *watcher) use(s snapshot, trigger string) {
	w.seen, w.pending = &s.raw, nil
	cfg, err := s.load(w.environ())
	if err == nil {
		err = w.apply(cfg)
	}
	w.outcome = err
	w.result(err)
	if err != nil {
		w.logger.Error("configuration rejected, nothing changed", "trigger", trigger, "err", err)
		return
	}
	w.logger.Info("configuration applied", "trigger", trigger)
}

// unreadable is logged once for each reason.
func (w *watcher) unreadable(err error) {
	if w.away == err.Error() {
		return
	}
	w.away = err.Error()
	w.result(err)
	w.logger.Error("configuration cannot be read, nothing changed", "err", err)
}
