package browser

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/statuspage"
)

//go:embed testdata/contrast.js
var contrast string

// look fails the test where text is hard to read or something sticks out, in light and in dark, on a desk and on a phone.
func (tb *tab) look(t *testing.T, when string) {
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 1280} {
			tb.screen(t, width, 900, scheme)
			got := value[struct {
				Seen  int
				Least float64
				Wrong []string
			}](t, tb, contrast)
			if got.Seen < 20 {
				t.Errorf("%s, %s, %d px: only %d texts were looked at", when, scheme, width, got.Seen)
			}
			for _, wrong := range got.Wrong {
				t.Errorf("%s, %s, %d px: %s", when, scheme, width, wrong)
			}
			t.Logf("%s, %s, %d px: %d texts, contrast at least %.2f", when, scheme, width, got.Seen, got.Least)
		}
	}
}

// still is a pool that stands still.
type still struct {
	stats  pool.Stats
	events []breaker.Event
}

func (s still) Stats() pool.Stats { return s.stats }

func (s still) Events(ctx context.Context) iter.Seq[breaker.Event] {
	return func(yield func(breaker.Event) bool) {
		for _, ev := range s.events {
			if !yield(ev) {
				return
			}
		}
		<-ctx.Done()
	}
}

// serve serves a page of such a pool, and returns its address.
func serve(t *testing.T, s still, opts ...statuspage.Option) string {
	t.Helper()
	page := statuspage.New(s, opts...)
	t.Cleanup(page.Close)
	mux := http.NewServeMux()
	mux.Handle("/some/where/pool", page)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/some/where/pool"
}

// enclaveOf is an enclave with so many connections, all well.
func enclaveOf(conns int) pool.EnclaveStats {
	now := time.Now()
	e := pool.EnclaveStats{State: breaker.Healthy, Since: now, MinConns: conns, MaxConns: conns, Conns: conns, HealthyConns: conns, Acquires: 1 << 40}
	for i := range conns {
		c := pool.ConnStats{Index: i, State: breaker.Healthy, InFlight: 100 * i / conns, Limit: 100, AdvertisedLimit: 128, OpenedAt: now, LastRead: now}
		e.InFlight += c.InFlight
		e.Capacity += c.Limit
		e.Connections = append(e.Connections, c)
	}
	return e
}

func TestEveryStateCanBeReadAndToldWithoutColour(t *testing.T) {
	tb := open(t)
	healthy, short, full := enclaveOf(16), enclaveOf(32), enclaveOf(32)
	short.HealthyConns, short.Cordoned = 30, true
	short.Connections[3].State, short.Connections[3].Cause = breaker.Degraded, errors.New("NOT_SERVING")
	short.Connections[5].State, short.Connections[5].Limit = breaker.Draining, 0
	full.Full, full.Waiters, full.Exhausted, full.StreamResets, full.InFlight = true, 4096, 123456, 98765432, 3200
	for i := range full.Connections {
		full.Connections[i].InFlight = 100
	}
	lost := pool.EnclaveStats{State: breaker.Degraded, Since: time.Now().Add(-100 * time.Hour), MinConns: 16, MaxConns: 32,
		Cause: errors.New("dial: " + strings.Repeat("connection-refused", 30))}
	drained := enclaveOf(4)
	drained.State, drained.HealthyConns = breaker.Draining, 0
	address := serve(t, still{stats: pool.Stats{Enclaves: map[string]pool.EnclaveStats{
		"healthy": healthy, "short": short, "full": full, "lost": lost, "drained": drained, strings.Repeat("long-name", 7): healthy,
	}}, events: []breaker.Event{{EnclaveID: "lost", Conn: -1, From: breaker.Healthy, To: breaker.Degraded, Signal: breaker.Lost,
		At: time.Now(), Cause: lost.Cause}}})
	tb.screen(t, 1280, 900, "light")
	tb.do(t, chromedp.Navigate(address))
	for id, state := range map[string]string{"healthy": "healthy", "full": "exhausted", "lost": "degraded", "drained": "draining", "short": "healthy"} {
		tb.await(t, id+" is shown", is(id, state))
	}
	shapes := value[[]string](t, tb, "['healthy', 'full', 'lost', 'drained'].map(id => document.querySelector(`[data-enclave=${id}] .shape path`).getAttribute('d'))")
	for i, a := range shapes {
		for _, b := range shapes[:i] {
			if a == b {
				t.Error("two states have the same shape")
			}
		}
	}
	tb.do(t, chromedp.Click(chromedp.CSS("[data-enclave=lost] summary")))
	tb.look(t, "every state")
	tb.quiet(t, address)
}

func TestAHundredEnclavesAreShownInShort(t *testing.T) {
	tb := open(t)
	all := map[string]pool.EnclaveStats{}
	for i := range 100 {
		all[fmt.Sprintf("enclave-%02d", i)] = enclaveOf(32)
	}
	all["enclave-77"] = pool.EnclaveStats{State: breaker.Degraded, Since: time.Now(), MinConns: 32, MaxConns: 32}
	address := serve(t, still{stats: pool.Stats{Enclaves: all}})
	tb.screen(t, 1280, 900, "light")
	tb.do(t, chromedp.Navigate(address))
	tb.await(t, "they are shown", "document.querySelectorAll('#rest .card').length === 99 && document.querySelectorAll('#cards .card').length === 1")
	if first := value[string](t, tb, "document.querySelector('.card').dataset.enclave"); first != "enclave-77" {
		t.Errorf("%s comes first", first)
	}
	took := value[float64](t, tb, "(() => { const began = performance.now(); show(latest); document.body.offsetHeight; return performance.now() - began })()")
	t.Logf("drawing 100 enclaves with 32 connections each again took %.0f ms", took)
	tb.look(t, "a hundred")
	tb.screen(t, 1280, 900, "light")
	if high := value[int](t, tb, "document.querySelector('#rest .card').offsetHeight"); high > 130 {
		t.Errorf("an enclave in short is %d px high", high)
	}
	tb.do(t, chromedp.Click(chromedp.CSS("[data-enclave=enclave-42] .head button")))
	tb.await(t, "one that is asked for is shown with everything", card("enclave-42")+".querySelector('.chart').checkVisibility() && document.activeElement.textContent === 'enclave-42'")
	tb.quiet(t, address)
}

func TestWhatAHostileEnclaveSaysDoesNotRun(t *testing.T) {
	tb := open(t)
	const evil = `"'><img src=x onerror="window.pwned=1"><script>window.pwned=1</script><a href="javascript:window.pwned=1">`
	said := errors.New(evil)
	at := time.Now()
	e := enclaveOf(2)
	e.State, e.Cause = breaker.Degraded, said
	e.Connections[0].State, e.Connections[0].Cause = breaker.Degraded, said
	address := serve(t, still{stats: pool.Stats{Enclaves: map[string]pool.EnclaveStats{evil: e}}, events: []breaker.Event{
		{EnclaveID: evil, Conn: -1, To: breaker.Degraded, Signal: breaker.Lost, At: at, Cause: said},
		{EnclaveID: evil, Conn: 0, To: breaker.Degraded, Signal: breaker.Ejected, At: at, Cause: errors.New(evil + " again")},
	}}, statuspage.WithTitle(evil))
	tb.screen(t, 360, 740, "dark")
	tb.do(t, chromedp.Navigate(address))
	tb.await(t, "the card is shown", "document.querySelector('.card') !== null")
	tb.do(t, chromedp.Click(chromedp.CSS("summary")), chromedp.Click(chromedp.CSS(".cell")))
	for _, what := range []string{".cause", ".last", ".events", ".detail", ".head button", "h1"} {
		if text := value[string](t, tb, fmt.Sprintf("document.querySelector(%q).textContent", what)); !strings.Contains(text, evil) {
			t.Errorf("%s says %q, not word for word what the enclave said", what, text)
		}
	}
	if n := value[int](t, tb, "document.querySelectorAll('main img, main a, main script, header img').length"); n != 0 {
		t.Errorf("%d elements have come out of what the enclave said", n)
	}
	if value[bool](t, tb, "'pwned' in window") {
		t.Error("what the enclave said has run")
	}
	// The page's policy would have stopped it too.
	refused := value[string](t, tb, "(() => { try { document.body.innerHTML = '<b>'; return '' } catch (e) { return e.name } })()")
	if refused != "TypeError" {
		t.Errorf("setting innerHTML: %q, want a refusal by the policy", refused)
	}
	tb.mu.Lock()
	tb.messages = nil // it says so on the console too
	tb.mu.Unlock()
	tb.quiet(t, address)
}
