package statuspage

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
)

// snapshot is what "?data" answers. Times are milliseconds since 1970 by the
// gateway's clock, 0: never.
type snapshot struct {
	Title string `json:"title"`
	At    int64  `json:"at"`
	// SampleMS is the time between two of the points in wait, newest last.
	SampleMS int64 `json:"sample_ms"`
	// Points is how many of them there are when the page has been up for long.
	Points int `json:"points"`
	// BoundsMS are what the numbers in wait stand for, by index, in
	// milliseconds; one more than the last: longer than all of them.
	BoundsMS []float64 `json:"bounds_ms"`
	Wait     wait      `json:"wait"`
	// Enclaves come with what is not well first.
	Enclaves []enclave `json:"enclaves"`
}

// wait is how long callers waited for a slot, and how many there were.
type wait struct {
	// P50 and P99 are indices of bounds_ms; −1: no callers.
	P50 []int8 `json:"p50"`
	P99 []int8 `json:"p99"`
	// Rate is callers a second, over the last sample.
	Rate float64 `json:"rate"`
}

type enclave struct {
	ID string `json:"id"`
	// State is healthy, degraded, draining or exhausted.
	State string `json:"state"`
	// Well: nothing here asks for anybody's attention.
	Well        bool         `json:"well"`
	Cordoned    bool         `json:"cordoned"`
	Since       int64        `json:"since"`
	Cause       string       `json:"cause"`
	MinConns    int          `json:"min_conns"`
	MaxConns    int          `json:"max_conns"`
	Healthy     int          `json:"healthy_conns"`
	InFlight    int          `json:"in_flight"`
	IdleStreams int          `json:"idle_streams"` // part of in_flight
	Capacity    int          `json:"capacity"`
	Waiters     int          `json:"waiters"`
	Acquires    uint64       `json:"acquires"`
	Exhausted   uint64       `json:"exhausted"`
	Dials       uint64       `json:"dials"`
	Reconnects  uint64       `json:"reconnects"`
	Resets      uint64       `json:"stream_resets"`
	Ejections   uint64       `json:"ejections"`
	Recent      recent       `json:"recent"`
	Wait        wait         `json:"wait"`
	Last        *event       `json:"last_event"`
	Events      []event      `json:"events"` // of the enclave as a whole, newest first
	Connections []connection `json:"connections"`

	rank int
}

// recent is what the time that is remembered has added to the counters.
type recent struct {
	Resets     uint64 `json:"stream_resets"`
	Exhausted  uint64 `json:"exhausted"`
	Reconnects uint64 `json:"reconnects"`
	Ejections  uint64 `json:"ejections"`
}

type event struct {
	At     int64  `json:"at"`
	Conn   int    `json:"conn"` // −1: the enclave
	Signal string `json:"signal"`
	From   string `json:"from"`
	To     string `json:"to"`
	Cause  string `json:"cause"`
}

type connection struct {
	Index       int    `json:"index"`
	State       string `json:"state"`
	InFlight    int    `json:"in_flight"`
	IdleStreams int    `json:"idle_streams"` // part of in_flight
	Limit       int    `json:"limit"`
	Advertised  int64  `json:"advertised"` // −1: the enclave has set no limit
	Opened      int64  `json:"opened"`
	LastRead    int64  `json:"last_read"`
	Cause       string `json:"cause"`
}

// stateExhausted is what conn_pool_state calls an enclave that is Healthy and full.
const stateExhausted = "exhausted"

var boundsMS = func() (ms []float64) {
	for _, d := range pool.WaitBounds() {
		ms = append(ms, float64(d)/float64(time.Millisecond))
	}
	return ms
}()

// snapshot puts together what is and what is remembered.
func (m *memory) snapshot(title string, stats pool.Stats, now time.Time) snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := snapshot{
		Title: title, At: millis(now), SampleMS: sampleEvery.Milliseconds(), Points: samples, BoundsMS: boundsMS,
		Wait: waitOf(m.all), Enclaves: make([]enclave, 0, len(stats.Enclaves)),
	}
	for id, es := range stats.Enclaves {
		e := newEnclave(id, &es)
		if p := m.enclaves[id]; p != nil {
			e.remember(p, countersOf(&es))
		} else {
			e.Wait = waitOf(nil)
		}
		s.Enclaves = append(s.Enclaves, e)
	}
	slices.SortFunc(s.Enclaves, func(a, b enclave) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), strings.Compare(a.ID, b.ID))
	})
	return s
}

func newEnclave(id string, s *pool.EnclaveStats) enclave {
	e := enclave{
		ID: printable(id), State: s.State.String(), Cordoned: s.Cordoned, Since: millis(s.Since), Cause: causeText(s.Cause),
		MinConns: s.MinConns, MaxConns: s.MaxConns, Healthy: s.HealthyConns,
		InFlight: s.InFlight, IdleStreams: s.IdleStreams, Capacity: s.Capacity, Waiters: s.Waiters,
		Acquires: s.Acquires, Exhausted: s.Exhausted, Dials: s.Dials,
		Reconnects: s.Reconnects, Resets: s.StreamResets, Ejections: s.Ejections,
		Events: []event{}, Connections: make([]connection, 0, len(s.Connections)),
	}
	if s.State == breaker.Healthy && s.Full {
		e.State = stateExhausted
	}
	e.rank = rank(&e)
	e.Well = e.rank >= firstWell
	for _, c := range s.Connections {
		e.Connections = append(e.Connections, connection{
			Index: c.Index, State: c.State.String(), InFlight: c.InFlight, IdleStreams: c.IdleStreams, Limit: c.Limit,
			Advertised: c.AdvertisedLimit, Opened: millis(c.OpenedAt), LastRead: millis(c.LastRead), Cause: causeText(c.Cause),
		})
	}
	return e
}

// firstWell is the first rank of those that ask for nobody's attention.
const firstWell = 5

// rank says who comes first: the lost, the full, those short of connections or
// with callers waiting, those that an operator has taken out, the others.
func rank(e *enclave) int {
	switch {
	case e.State == breaker.Degraded.String():
		return 0
	case e.State == stateExhausted:
		return 1
	case e.State == breaker.Draining.String():
		return 3
	case e.Healthy < e.MinConns || e.Waiters > 0:
		return 2
	case e.Cordoned:
		return 4
	}
	return firstWell
}

func (e *enclave) remember(p *past, now counters) {
	e.Wait = waitOf(p.samples)
	if len(p.samples) > 0 {
		e.Recent = recent(now.since(p.samples[0].counters))
	}
	for _, ev := range slices.Backward(p.events) {
		e.Events = append(e.Events, newEvent(ev))
	}
	if !p.last.At.IsZero() {
		last := newEvent(p.last)
		e.Last = &last
	}
}

func newEvent(ev breaker.Event) event {
	return event{
		At: millis(ev.At), Conn: ev.Conn, Signal: ev.Signal.String(),
		From: ev.From.String(), To: ev.To.String(), Cause: causeText(ev.Cause),
	}
}

func waitOf(all []sample) wait {
	w := wait{P50: make([]int8, len(all)), P99: make([]int8, len(all))}
	for i, s := range all {
		w.P50[i], w.P99[i] = s.p50, s.p99
	}
	if len(all) > 0 {
		w.Rate = math.Round(10*float64(all[len(all)-1].rate)) / 10
	}
	return w
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
