package statuspage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/statuspage"
)

// fake is a pool that says what it is told to.
type fake struct {
	mu     sync.Mutex
	stats  map[string]pool.EnclaveStats
	asked  int
	events chan breaker.Event // closed: the pool is
}

func newFake(stats map[string]pool.EnclaveStats) *fake {
	return &fake{stats: stats, events: make(chan breaker.Event)}
}

func (f *fake) Stats() pool.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	out := pool.Stats{Enclaves: map[string]pool.EnclaveStats{}}
	for id, s := range f.stats {
		out.Enclaves[id] = s
	}
	return out
}

func (f *fake) times() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *fake) set(id string, s pool.EnclaveStats) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats[id] = s
}

func (f *fake) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.stats, id)
}

func (f *fake) Events(ctx context.Context) iter.Seq[breaker.Event] {
	return func(yield func(breaker.Event) bool) {
		for {
			select {
			case ev, open := <-f.events:
				if !open || !yield(ev) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// show makes a page that is closed at the test's end.
func show(t *testing.T, s statuspage.Source, opts ...statuspage.Option) *statuspage.Page {
	t.Helper()
	p := statuspage.New(s, opts...)
	t.Cleanup(p.Close)
	return p
}

// ask makes a request of the page.
func ask(p http.Handler, method, url string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, url, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// What the page reads, as somebody else would.
type (
	picture struct {
		Title    string
		At       int64
		SampleMS int64     `json:"sample_ms"`
		Points   int       `json:"points"`
		BoundsMS []float64 `json:"bounds_ms"`
		Wait     wait
		Enclaves []enclave
	}
	wait struct {
		P50, P99 []int
		Rate     float64
	}
	enclave struct {
		ID, State, Cause string
		Well, Cordoned   bool
		Since            int64
		MinConns         int `json:"min_conns"`
		MaxConns         int `json:"max_conns"`
		HealthyConns     int `json:"healthy_conns"`
		InFlight         int `json:"in_flight"`
		IdleStreams      int `json:"idle_streams"`
		Capacity         int
		Waiters          int
		Acquires         uint64
		Exhausted        uint64
		Dials            uint64
		Reconnects       uint64
		StreamResets     uint64 `json:"stream_resets"`
		Ejections        uint64
		Recent           map[string]uint64
		Wait             wait
		Last             *event `json:"last_event"`
		Events           []event
		Connections      []connection
	}
	event struct {
		At                      int64
		Conn                    int
		Signal, From, To, Cause string
	}
	connection struct {
		Index, Limit int
		State, Cause string
		InFlight     int   `json:"in_flight"`
		IdleStreams  int   `json:"idle_streams"`
		Advertised   int64 `json:"advertised"`
		Opened       int64
		LastRead     int64 `json:"last_read"`
	}
)

// read asks for the picture; a field that is not known is an error.
func read(t *testing.T, p http.Handler) picture {
	t.Helper()
	w := ask(p, http.MethodGet, "/debug/pool?data")
	if w.Code != http.StatusOK {
		t.Fatalf("?data: %d %s", w.Code, w.Body)
	}
	d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	d.DisallowUnknownFields()
	var got picture
	if err := d.Decode(&got); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return got
}

// one returns the enclave with the ID.
func (p picture) one(t *testing.T, id string) enclave {
	t.Helper()
	for _, e := range p.Enclaves {
		if e.ID == id {
			return e
		}
	}
	t.Fatalf("enclave %q is not in the picture", id)
	panic("not reached")
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

var errLost = errors.New("connection reset by peer")

// later lets so much time pass, and a picture with it grow too old.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
