package routing

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// maxSilence is for how long a watch that says nothing is taken to be whole.
const maxSilence = 3 * ProgressInterval

// watching is the goroutine that keeps the places true, and what it knows.
type watching struct {
	*Placed
	after uint64 // the revision to go on from
	ready sync.Once

	changed chan struct{} // of one: the state has

	mu     sync.Mutex // between the goroutine and the timer
	since  time.Time  // of PlacedStale
	expiry *time.Timer
}

// watch runs until Close.
func (p *Placed) watch() {
	w := &watching{Placed: p, after: Now, changed: make(chan struct{}, 1), since: time.Now()}
	w.expiry = time.AfterFunc(p.cfg.maxStale, w.expire)
	defer w.expiry.Stop()
	if p.cfg.notify != nil {
		p.done.Go(w.tell)
	}
	for p.ctx.Err() == nil {
		w.once()
		w.lost()
		// So that gateways that lost it together do not come back in step.
		p.pause(p.ctx)
	}
}

func (p *Placed) pause(ctx context.Context) {
	t := time.NewTimer(p.cfg.retryAfter/2 + rand.N(p.cfg.retryAfter/2+time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// once watches until the Directory ends it, or is silent for too long.
func (w *watching) once() {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	silence := time.AfterFunc(maxSilence, cancel)
	defer silence.Stop()
	for c, err := range w.dir.Watch(ctx, w.after) {
		if err != nil {
			return
		}
		silence.Reset(maxSilence)
		switch c.Kind {
		case ChangePlaced, ChangeMoved, ChangeForgotten:
			w.places.apply(c, w.cfg.mirror)
		case ChangeReset:
			w.places.reset()
			w.stats.resets.Add(1)
		}
		w.after = c.Revision // after a reset it may be less than before
		w.current()
		switch {
		case c.Kind != ChangeReset:
		case w.cfg.mirror: // beside the watch: it may take minutes
			generation := w.places.generation.Load()
			w.done.Go(func() { w.mirror(generation) })
		default:
			w.isReady()
		}
	}
}

// mirror keeps all that the Directory has, unless a reset makes it vain.
func (w *watching) mirror(generation uint64) {
	after, more := "", true
	for more && w.places.generation.Load() == generation && w.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(w.ctx, listTimeout)
		page, err := w.dir.List(ctx, after, listPage)
		cancel()
		if err != nil {
			w.pause(w.ctx)
			continue
		}
		for _, p := range page.Placements {
			w.places.add(p, generation)
			after = p.Key
		}
		more = page.More
	}
	if !more {
		w.isReady()
	}
}

const (
	listPage    = 5000
	listTimeout = 30 * time.Second
)

func (w *watching) isReady() { w.ready.Do(func() { close(w.Placed.ready) }) }

// current: something was heard of the Directory.
func (w *watching) current() {
	if PlacedState(w.state.Load()) == PlacedCurrent {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expiry.Stop()
	w.becomesLocked(PlacedCurrent)
}

// lost: the watch has ended. What had been stale or expired before stays so.
func (w *watching) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if PlacedState(w.state.Load()) == PlacedCurrent {
		w.since = time.Now()
		w.expiry.Reset(w.cfg.maxStale)
		w.becomesLocked(PlacedStale)
	}
}

func (w *watching) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if PlacedState(w.state.Load()) == PlacedStale && time.Since(w.since) >= w.cfg.maxStale {
		w.becomesLocked(PlacedExpired)
	}
}

func (w *watching) becomesLocked(s PlacedState) {
	w.state.Store(uint32(s))
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// tell calls the user's function with the latest state, until Close.
func (w *watching) tell() {
	last := PlacedStale
	for {
		select {
		case <-w.changed:
		case <-w.ctx.Done():
			return
		}
		if s := PlacedState(w.state.Load()); s != last {
			last = s
			notify(w.cfg.notify, s)
		}
	}
}

// notify outlives a panic of f, which is somebody else's.
func notify(f func(PlacedState), s PlacedState) {
	defer func() { _ = recover() }()
	f(s)
}
