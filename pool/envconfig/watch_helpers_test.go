package envconfig_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/envconfig"
)

// watched is a file that Watch follows; what it applied and logged is noted.
type watched struct {
	dir, path string

	mu      sync.Mutex
	applied []pool.Config
	refuse  error // what apply answers
	log     strings.Builder

	lines chan string // gets the log too, unless nil
}

// Write takes the log.
func (w *watched) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lines != nil {
		w.lines <- string(line)
	}
	return w.log.Write(line)
}

func (w *watched) apply(cfg pool.Config) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse == nil {
		w.applied = append(w.applied, cfg)
	}
	return w.refuse
}

// taken returns the MinConns of what was applied since the last time, and the
// log since then.
func (w *watched) taken() (sizes, logged string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []int
	for _, cfg := range w.applied {
		all = append(all, cfg.MinConns)
	}
	sizes, logged = fmt.Sprint(all), w.log.String()
	w.applied = nil
	w.log.Reset()
	return sizes, logged
}

// expect compares what was applied since the last time, and asks for words in
// the log; without words for silence.
func (w *watched) expect(t *testing.T, what, sizes string, words ...string) {
	t.Helper()
	got, logged := w.taken()
	if got != sizes {
		t.Errorf("%s: applied %s, want %s\n%s", what, got, sizes, logged)
	}
	for _, word := range words {
		if !strings.Contains(logged, word) {
			t.Errorf("%s: the log says nothing of %q\n%s", what, word, logged)
		}
	}
	if len(words) == 0 && logged != "" {
		t.Errorf("%s: logged\n%s", what, logged)
	}
}

// size is the content of a file with one enclave and a number of connections.
func size(n int) string { return fmt.Sprintf("%s\nSIGN_CONN_POOL_MIN=%d\n", enclaveA, n) }

// start runs Watch on a file of the given content until the end of the test, or
// until stop, which waits for its end.
func start(t *testing.T, content string, opts ...envconfig.Option) (w *watched, stop func()) {
	t.Helper()
	dir := t.TempDir()
	w = &watched{dir: dir, path: write(t, filepath.Join(dir, "pool.env"), content)}
	return w, w.watch(t, w.path, w.apply, opts...)
}

func (w *watched) watch(t *testing.T, path string, apply func(pool.Config) error, opts ...envconfig.Option) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	opts = append([]envconfig.Option{
		envconfig.WithEnviron(nil), envconfig.WithLogger(slog.New(slog.NewTextHandler(w, nil))),
	}, opts...)
	go func() {
		defer close(done)
		envconfig.Watch(ctx, path, apply, opts...)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// bubble is synctest.Test where Watch hears no signal: those come from outside.
func bubble(t *testing.T, f func(t *testing.T, silent envconfig.Option)) {
	synctest.Test(t, func(t *testing.T) { f(t, envconfig.WithSignals()) })
}

// pass lets virtual time pass until everything that happens in it has happened.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
