package hostile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// good is the ID of the healthy enclave.
const good = "good"

// evil is the ID of a hostile one. None is a part of another.
func evil(i int) string { return fmt.Sprintf("evil%02d", i) }

// scene is a pool with the healthy enclave, and hostile ones after a while.
type scene struct {
	Config
	attacks []attack
	dir     string

	before    footprint
	grpcLines int
	lines     *lineCounter
	pool      *pool.Pool

	shared  shared
	results []*Result
}

// attack runs attacks at the same time. Their sockets are in dir.
func (c Config) attack(ctx context.Context, attacks []attack, dir string) ([]*Result, error) {
	s := &scene{Config: c, attacks: attacks, dir: dir, lines: &lineCounter{}}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	if err := s.play(ctx); err != nil {
		return nil, err
	}
	s.shared.Left = left(s.before)
	for i, res := range s.results {
		res.shared = s.shared
		res.judge(attacks[i], c, len(attacks))
	}
	return s.results, nil
}

// target is where an enclave listens.
func (s *scene) target(name string) string { return "unix:" + filepath.Join(s.dir, name) }

// prepare makes the pool with the healthy enclave.
func (s *scene) prepare(ctx context.Context) error {
	s.before = footprintNow()
	s.grpcLines = grpcLog.of("").lines
	cfg := s.Config.pool()
	cfg.Enclaves = []pool.Enclave{{ID: good, Target: s.target(healthy)}}
	p, err := pool.New(cfg, pool.WithLogger(s.lines.logger()))
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := p.Ready(within); err != nil {
		return errors.Join(err, p.Close(within))
	}
	s.pool = p
	return nil
}

// play has the healthy enclave called alone and then beside the hostile ones, and closes the pool.
func (s *scene) play(ctx context.Context) error {
	p := s.pool
	calm := callGood(p)
	sleep(ctx, s.Calm)
	s.shared.Alone = calm.stop()

	heap, looks, calls := watchHeap(), watch(p), callGood(p)
	cfg := s.Config.pool()
	cfg.Enclaves = []pool.Enclave{{ID: good, Target: s.target(healthy)}}
	for i, a := range s.attacks {
		cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: evil(i), Target: s.target(a.name)})
	}
	err := p.Update(cfg)
	began := time.Now()
	var victims []*traffic
	if err == nil {
		for i := range s.attacks {
			victims = append(victims, callEvil(p, evil(i)))
		}
		sleep(ctx, s.storm())
		s.linger(ctx, looks)
	}
	s.shared.Lasted = time.Since(began)
	s.shared.Beside = calls.stop()
	looks.stop()
	for i, v := range victims {
		a := s.attacks[i]
		s.results = append(s.results, &Result{Name: a.name, Does: a.does, Held: a.held,
			Evil: v.stop(), Looks: looks.of(evil(i)), Stats: p.Stats().Enclaves[evil(i)]})
	}
	s.shared.HeapGrowth = heap.stop()
	closing := time.Now()
	closed, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.shared.CloseErr = p.Close(closed)
	s.shared.CloseTook = time.Since(closing)
	for i, res := range s.results {
		res.Lines = s.lines.of(evil(i)).lines
	}
	s.shared.log = s.lines.of(good)
	s.shared.GRPCLines = grpcLog.of("").lines - s.grpcLines
	return err
}

// storm is how long it lasts.
func (s *scene) storm() time.Duration {
	if slices.ContainsFunc(s.attacks, func(a attack) bool { return a.slow }) {
		return max(s.Storm, s.Long)
	}
	return s.Storm
}

// linger waits, for s.Room at most, until every enclave has lost a connection that has to.
func (s *scene) linger(ctx context.Context, l *looker) {
	for until := time.Now().Add(s.Room); time.Now().Before(until) && ctx.Err() == nil; sleep(ctx, 20*time.Millisecond) {
		waits := false
		for i, a := range s.attacks {
			waits = waits || a.held == thrownOut && l.of(evil(i)).Out == 0
		}
		if !waits {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// footprint is what must not grow.
type footprint struct{ goroutines, files int }

func footprintNow() footprint {
	f := footprint{goroutines: runtime.NumGoroutine()}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil { // Linux's; elsewhere none are counted
		f.files = len(entries)
	}
	return f
}

// left says what is there that was not before, once that had time to go.
func left(before footprint) string {
	var now footprint
	for range 100 {
		if now = footprintNow(); now.goroutines <= before.goroutines && now.files <= before.files {
			return ""
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Sprintf("%d goroutines (%d before), %d files (%d before)", now.goroutines, before.goroutines, now.files, before.files)
}

// quantile is the nearest-rank quantile of durations.
func quantile(samples []time.Duration, q float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
