package pool

import (
	"slices"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
)

// Stats is a snapshot of a Pool. Its numbers are read one after another while
// the pool goes on, so they may be a few calls apart.
type Stats struct {
	Enclaves map[string]EnclaveStats
}

// EnclaveStats is a snapshot of one enclave. Health probes are not counted.
type EnclaveStats struct {
	// State is Healthy while at least one connection is; Since is when it
	// became so, Cause why it is not Healthy (nil if it is).
	State breaker.State
	Since time.Time
	Cause error
	// Full: every slot is taken and there can be no more of them, which
	// conn_pool_state calls exhausted.
	Full bool
	// Cordoned and Epoch are as in the View.
	Cordoned bool
	Epoch    uint64
	// MinConns and MaxConns are as configured; Conns counts the connections
	// whose socket is open, HealthyConns those that callers may use.
	MinConns, MaxConns, Conns, HealthyConns int
	// InFlight counts the slots in use; Capacity is how many could be, over the
	// connections that callers may use now; Waiters counts queued callers.
	InFlight, Capacity, Waiters int
	// Acquires counts slots given out, those that a call or a lease moved to
	// when its connection was lost included, Exhausted callers turned away with
	// ErrExhausted, Dials attempts to connect, Reconnects connections that
	// replaced a lost one, StreamResets the RST_STREAM frames received other
	// than NO_ERROR, Ejections connections taken out by failed health
	// probes or for a flood of frames.
	Acquires, Exhausted, Dials, Reconnects, StreamResets, Ejections uint64
	// IdleStreams are the slots in InFlight that warm streams hold while nobody
	// uses them, and give up when a caller would have to wait.
	IdleStreams int
	// Waits counts callers by how long they waited for a slot or for a warm
	// stream, repetitions of exchanges included. It only grows, but for the
	// count of those who did not wait: that is worked out from the others and
	// may be a few off.
	Waits WaitCounts
	// Connections are those open, by index.
	Connections []ConnStats
	// Leases are those out, oldest first; nil without WithLeaseTracking.
	Leases []LeaseStats
}

// ConnStats is a snapshot of one connection.
type ConnStats struct {
	// Index is the connection's place among the enclave's, from 0. The one
	// that replaces a lost connection has its index.
	Index int
	// State is Healthy while callers may use it, Draining while it only
	// finishes what it has, Degraded otherwise.
	State breaker.State
	// InFlight counts the slots in use, Limit how many may be; IdleStreams of
	// those in use are held by warm streams that nobody uses.
	InFlight, Limit, IdleStreams int
	// AdvertisedLimit is the server's SETTINGS_MAX_CONCURRENT_STREAMS; −1: it
	// has set none.
	AdvertisedLimit int64
	// OpenedAt is when the connection was admitted, LastRead when a byte last
	// came from the enclave; zero: not yet.
	OpenedAt, LastRead time.Time
	// Cause is why the connection is not Healthy; nil if it is.
	Cause error
}

// Stats returns a snapshot.
func (p *Pool) Stats() Stats {
	s := Stats{Enclaves: make(map[string]EnclaveStats, len(p.all()))}
	for _, e := range p.all() {
		s.Enclaves[e.id] = e.stats()
	}
	return s
}

func (e *enclave) stats() EnclaveStats {
	st := e.status.Load()
	admitted, open := *e.admitted.Load(), *e.open.Load()
	s := EnclaveStats{
		State: st.state, Since: st.since, Cause: st.cause, Full: e.full.Load(),
		Cordoned: e.cordoned.Load(), Epoch: st.epoch,
		MinConns: int(e.minConns.Load()), MaxConns: int(e.maxConns.Load()),
		Conns: len(open), HealthyConns: len(admitted),
		Exhausted: e.exhausted.Load(), Ejections: e.ejections.Load(), Dials: e.dials.Load(),
		Reconnects: e.reconnects.Load(), StreamResets: e.streamResets(),
		Connections: make([]ConnStats, 0, len(open)),
	}
	now, idle := time.Now(), e.idleByConn()
	for _, c := range open {
		cs := c.stats(now)
		cs.IdleStreams = min(idle[c], cs.InFlight)
		s.IdleStreams += cs.IdleStreams
		if cs.State == breaker.Healthy {
			s.Capacity += cs.Limit
		}
		s.Connections = append(s.Connections, cs)
	}
	s.Acquires, s.InFlight = e.acquires(), e.inFlight()
	s.Waits = e.waits.counts(s.Acquires + e.exchanged.Load() + e.exchanges())
	slices.SortFunc(s.Connections, func(a, b ConnStats) int { return a.Index - b.Index })
	e.mu.Lock()
	s.Waiters = e.queue.len()
	e.mu.Unlock()
	if e.tracker != nil {
		s.Leases = e.tracker.all()
	}
	return s
}

// acquires returns how many slots have ever been given out.
func (e *enclave) acquires() uint64 {
	n := e.retired.Load()
	for _, c := range *e.open.Load() {
		n += c.slots.reserved()
	}
	return n
}

// streamResets adds up the resets of all codes.
func (e *enclave) streamResets() (n uint64) {
	for i := range e.resets {
		n += e.resets[i].Load()
	}
	return n
}

func (c *conn) stats(now time.Time) ConnStats {
	used, limit := c.slots.load()
	c.mu.Lock()
	s := ConnStats{
		Index: c.index, State: breaker.Degraded,
		InFlight: int(used), Limit: int(limit), AdvertisedLimit: c.advertised,
		OpenedAt: c.openedAt, Cause: c.cause,
	}
	if s.Cause == nil {
		s.Cause = c.resting
	}
	switch {
	case c.admits:
		s.State, s.Cause = breaker.Healthy, nil
	case !c.openedAt.IsZero() && (used > 0 || c.ready.Load()):
		s.State = breaker.Draining
	}
	c.mu.Unlock()
	if tap := c.tap.Load(); tap != nil && tap.BytesRead() > 0 {
		s.LastRead = now.Add(-tap.SinceRead())
	}
	return s
}
