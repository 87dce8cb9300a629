package pool

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/enclavepool/enclavepool/breaker"
)

// Events returns the changes of state of all enclaves and their connections,
// until ctx or the pool ends. It begins with the latest change of each, so that
// a subscriber knows where things stand, and goes on with every new one.
//
// A subscriber may take its time, and may call the pool: nobody waits for it.
// Of changes that it has not taken yet only the latest is kept for each
// connection and each enclave, so it may miss some in between, never the last.
// Seq grows strictly among the events of one enclave; From is the state before
// the change, which a subscriber that missed some has not necessarily seen.
//
// Each iteration is a subscription of its own and ends with its loop.
func (p *Pool) Events(ctx context.Context) iter.Seq[breaker.Event] {
	return func(yield func(breaker.Event) bool) {
		s := p.events.subscribe()
		defer p.events.unsubscribe(s)
		for {
			batch, last := p.events.take(s)
			for _, o := range batch {
				if ctx.Err() != nil || !yield(o.Event) {
					return
				}
			}
			if last {
				return
			}
			select {
			case <-s.news:
			case <-ctx.Done():
				return
			}
		}
	}
}

// subject is what an event is about.
type subject struct {
	enclaveID string
	conn      int
}

// subscription is what one loop over Events has not been given yet.
type subscription struct {
	pending map[subject]ordered
	news    chan struct{} // capacity 1
}

// ordered is an event and its place among those of all enclaves.
type ordered struct {
	breaker.Event
	order uint64
}

// events passes changes of state on to subscribers. Publishing costs a map
// entry for each of them and never waits. The zero value is ready for use.
type events struct {
	mu            sync.Mutex
	order         uint64
	closed        bool
	latest        map[subject]ordered
	subscriptions map[*subscription]struct{}
}

func (h *events) publish(ev breaker.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.latest == nil {
		h.latest = map[subject]ordered{}
	}
	h.order++
	about, o := subject{ev.EnclaveID, ev.Conn}, ordered{ev, h.order}
	h.latest[about] = o
	for s := range h.subscriptions {
		s.pending[about] = o
		s.tell()
	}
}

// tell makes the subscriber look; it holds for all that came until then.
func (s *subscription) tell() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (h *events) subscribe() *subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &subscription{pending: maps.Clone(h.latest), news: make(chan struct{}, 1)}
	if s.pending == nil {
		s.pending = map[subject]ordered{}
	}
	if h.subscriptions == nil {
		h.subscriptions = map[*subscription]struct{}{}
	}
	h.subscriptions[s] = struct{}{}
	return s
}

func (h *events) unsubscribe(s *subscription) {
	h.mu.Lock()
	delete(h.subscriptions, s)
	h.mu.Unlock()
}

// take returns what s has not been given, in order; last: there will be no more.
func (h *events) take(s *subscription) (batch []ordered, last bool) {
	h.mu.Lock()
	pending := s.pending
	s.pending, last = make(map[subject]ordered), h.closed
	h.mu.Unlock()
	return slices.SortedFunc(maps.Values(pending), func(a, b ordered) int { return cmp.Compare(a.order, b.order) }), last
}

// forget drops what is kept of an enclave that is no longer there. Those
// subscribed already still get it.
func (h *events) forget(enclaveID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.latest, func(s subject, _ ordered) bool { return s.enclaveID == enclaveID })
}

// close ends every subscription once it has been given what is pending.
func (h *events) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subscriptions {
		s.tell()
	}
}
