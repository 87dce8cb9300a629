package statuspage

import (
	"sync"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
)

const (
	// sampleEvery is the time between two points of the curves, samples how
	// many of them are kept: five minutes.
	sampleEvery = 2 * time.Second
	samples     = 150
	// keptEvents is how many changes of an enclave's own state are kept.
	keptEvents = 8
)

// memory is what a page remembers of the pool's last minutes: per enclave a few
// bytes for each sample, and a few events. The zero value is ready for use.
type memory struct {
	mu       sync.Mutex
	enclaves map[string]*past
	all      []sample
	sampled  time.Time
}

// past is what is remembered of one enclave.
type past struct {
	seen    bool // in a sample
	absent  int  // samples without it
	waits   pool.WaitCounts
	samples []sample
	events  []breaker.Event // of the enclave as a whole, oldest first
	last    breaker.Event   // of it or of a connection; At is zero when there was none
}

// sample is what happened between two looks.
type sample struct {
	p50, p99 int8    // which of pool.WaitCounts; −1: no callers
	rate     float32 // callers a second
	counters counters
}

// counters are those of which the page tells what the last minutes added.
type counters struct{ Resets, Exhausted, Reconnects, Ejections uint64 }

func countersOf(s *pool.EnclaveStats) counters {
	return counters{Resets: s.StreamResets, Exhausted: s.Exhausted, Reconnects: s.Reconnects, Ejections: s.Ejections}
}

// since returns what was counted after earlier.
func (c counters) since(earlier counters) counters {
	less := func(a, b uint64) uint64 { return a - min(a, b) }
	return counters{
		Resets: less(c.Resets, earlier.Resets), Exhausted: less(c.Exhausted, earlier.Exhausted),
		Reconnects: less(c.Reconnects, earlier.Reconnects), Ejections: less(c.Ejections, earlier.Ejections),
	}
}

// of returns what is remembered of an enclave; the lock is held.
func (m *memory) ofLocked(id string) *past {
	if m.enclaves == nil {
		m.enclaves = map[string]*past{}
	}
	p := m.enclaves[id]
	if p == nil {
		p = &past{}
		m.enclaves[id] = p
	}
	return p
}

// note remembers a change of state.
func (m *memory) note(ev breaker.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.ofLocked(ev.EnclaveID)
	if !ev.At.Before(p.last.At) {
		p.last = ev
	}
	if ev.Conn < 0 {
		p.events = push(p.events, ev, keptEvents)
	}
}

// sample remembers how the pool is now.
func (m *memory) sample(stats pool.Stats, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	passed := now.Sub(m.sampled)
	m.sampled = now
	var sum pool.WaitCounts
	for id, s := range stats.Enclaves {
		p := m.ofLocked(id)
		var waits pool.WaitCounts
		if p.seen {
			waits = s.Waits.Since(p.waits)
		}
		p.seen, p.absent, p.waits = true, 0, s.Waits
		sum = sum.Add(waits)
		p.samples = push(p.samples, newSample(waits, passed, countersOf(&s)), samples)
	}
	m.all = push(m.all, newSample(sum, passed, counters{}), samples)
	for id, p := range m.enclaves {
		if _, there := stats.Enclaves[id]; there {
			continue
		}
		// One that is new may have had its first event before its first sample.
		if p.absent++; p.absent > 1 {
			delete(m.enclaves, id)
		}
	}
}

func newSample(waits pool.WaitCounts, passed time.Duration, c counters) sample {
	s := sample{p50: int8(waits.Quantile(0.5)), p99: int8(waits.Quantile(0.99)), counters: c}
	if passed > 0 {
		s.rate = float32(float64(waits.Total()) / passed.Seconds())
	}
	return s
}

// push adds v and keeps the last most.
func push[T any](s []T, v T, most int) []T {
	if len(s) >= most {
		s = s[len(s)-most+1:]
	}
	return append(s, v)
}
