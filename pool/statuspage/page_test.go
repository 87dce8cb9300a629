package statuspage_test

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/statuspage"
)

var parts = []string{"", "?data", "?asset=style.css", "?asset=card.css", "?asset=page.js", "?asset=icon.svg"}

func TestEveryAnswerForbidsOtherOriginsAndBeingKept(t *testing.T) {
	p := show(t, newFake(nil))
	for _, part := range append(parts, "?asset=missing", "?asset=../page.go") {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			h := ask(p, method, "/debug/pool"+part).Header()
			policy := h.Get("Content-Security-Policy")
			if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") ||
				!strings.Contains(policy, "frame-ancestors 'none'") || !strings.Contains(policy, "script-src 'self';") {
				t.Errorf("%s %s: Content-Security-Policy is %q", method, part, policy)
			}
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s: headers %v", method, part, h)
			}
		}
	}
}

func TestOnlyGETAndHEADAreAnswered(t *testing.T) {
	f := newFake(nil)
	p := show(t, f)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
		if w := ask(p, method, "/debug/pool?data"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	for _, part := range parts {
		get, head := ask(p, "GET", "/debug/pool"+part), ask(p, "HEAD", "/debug/pool"+part)
		if get.Code != 200 || head.Code != 200 || get.Body.Len() == 0 || head.Body.Len() != 0 ||
			get.Header().Get("Content-Length") != head.Header().Get("Content-Length") {
			t.Errorf("%q: GET %d, %d bytes; HEAD %d, %d bytes, says %s", part, get.Code, get.Body.Len(), head.Code, head.Body.Len(),
				head.Header().Get("Content-Length"))
		}
	}
	for _, name := range []string{"", "missing.js", "../page.go", "assets/page.js", "page.go"} {
		if w := ask(p, "GET", "/debug/pool?asset="+name); w.Code != http.StatusNotFound {
			t.Errorf("asset %q: %d", name, w.Code)
		}
	}
}

// reference is what makes a browser load or go somewhere.
var reference = regexp.MustCompile(`(?i)(?:\b(?:src|href|action)=|url\(|\bimport\b|fetch\(|@import)\s*["']?([^"')\s>]*)`)

func TestThePageRefersOnlyToItsOwnPath(t *testing.T) {
	p := show(t, newFake(nil))
	seen := 0
	for _, part := range []string{"", "?asset=style.css", "?asset=card.css", "?asset=parts.js", "?asset=chart.js", "?asset=conns.js",
		"?asset=card.js", "?asset=page.js"} {
		text := ask(p, "GET", "/x/y"+part).Body.String()
		if strings.Contains(text, "innerHTML") || strings.Contains(text, "insertAdjacentHTML") || strings.Contains(text, "document.write") {
			t.Errorf("%q makes markup of text", part)
		}
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			seen++
			if !strings.HasPrefix(m[1], "?") {
				t.Errorf("%q refers to %q", part, m[0])
				continue
			}
			if w := ask(p, "GET", "/x/y"+m[1]); w.Code != 200 {
				t.Errorf("%q refers to %q, which answers %d", part, m[1], w.Code)
			}
		}
	}
	if seen < 9 {
		t.Errorf("found %d references; the page has more", seen)
	}
}

func TestItWorksUnderAnyPrefix(t *testing.T) {
	p := show(t, newFake(nil))
	mux := http.NewServeMux()
	mux.Handle("/debug/pool", p)
	mux.Handle("/a/b/", http.StripPrefix("/a/b", p))
	s := httptest.NewServer(mux)
	defer s.Close()
	for _, path := range []string{"/debug/pool", "/a/b/", "/a/b/pool"} {
		for _, part := range parts {
			res, err := s.Client().Get(s.URL + path + part)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != 200 || res.Request.URL.Path != path {
				t.Errorf("%s%s: %d at %s", path, part, res.StatusCode, res.Request.URL)
			}
		}
	}
}

func TestDataIsTheSameWithAndWithoutGzip(t *testing.T) {
	bubble(t, func(t *testing.T) { // no time passes, so both are the same picture
		p := show(t, newFake(map[string]pool.EnclaveStats{"a": {}}))
		plain, small := ask(p, "GET", "/?data"), ask(p, "GET", "/?data", "Accept-Encoding", "br, gzip")
		if plain.Header().Get("Content-Encoding") != "" || small.Header().Get("Content-Encoding") != "gzip" {
			t.Errorf("encodings %q and %q", plain.Header().Get("Content-Encoding"), small.Header().Get("Content-Encoding"))
		}
		r, err := gzip.NewReader(small.Body)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(r); err != nil || string(text) != plain.Body.String() {
			t.Errorf("%v: %s; without gzip %s", err, text, plain.Body)
		}
	})
}

func TestManyReadersCostNoMoreThanOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(map[string]pool.EnclaveStats{"a": {}})
		p := show(t, f)
		before := f.times()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { ask(p, "GET", "/?data") })
		}
		wg.Wait()
		if n := f.times() - before; n != 1 {
			t.Errorf("Stats was called %d times for 100 readers at once", n)
		}
		later(time.Second)
		ask(p, "GET", "/?data")
		if n := f.times() - before; n != 2 {
			t.Errorf("Stats was called %d times; the picture of a second ago was given again", n)
		}
	})
}

func TestWhatAPeerHasWordedIsBoundedAndPrintable(t *testing.T) {
	hostile := errors.New("</script><img src=x onerror=alert(1)>\x1b[31m\x00\r\n\u202egnirts\u2066 \u2028z\u0300\u0301\u0302 \xff" + strings.Repeat("A", 64<<10))
	f := newFake(map[string]pool.EnclaveStats{"<b>a": {
		State: breaker.Degraded, Cause: hostile, Connections: []pool.ConnStats{{State: breaker.Degraded, Cause: hostile}},
	}})
	p := show(t, f, statuspage.WithTitle("<i>\x07"))
	f.events <- breaker.Event{EnclaveID: "<b>a", Conn: -1, To: breaker.Degraded, At: time.Now(), Cause: hostile}
	f.events <- breaker.Event{EnclaveID: "<b>a", Conn: 1, To: breaker.Degraded, At: time.Now(), Cause: hostile}
	raw := ask(p, "GET", "/?data").Body.String()
	if strings.ContainsAny(raw, "<>\x1b\x00\r\n") {
		t.Errorf("the JSON has what could be markup or control characters: %.2000s", raw)
	}
	got := read(t, p)
	e := got.Enclaves[0]
	texts := []string{got.Title, e.ID, e.Cause, e.Connections[0].Cause, e.Last.Cause, e.Events[0].Cause}
	for _, text := range texts {
		if len([]rune(text)) > 301 {
			t.Errorf("%d characters", len([]rune(text)))
		}
		for _, r := range text {
			if !unicode.IsPrint(r) || unicode.Is(unicode.M, r) {
				t.Errorf("%q has %q", text, r)
			}
		}
	}
	if !strings.HasPrefix(e.Cause, "</script><img src=x onerror=alert(1)>\ufffd[31m") || !strings.HasSuffix(e.Cause, "A…") {
		t.Errorf("the cause has become %q", e.Cause)
	}
}

func TestCloseEndsWhatRunsAndThePageStillAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(map[string]pool.EnclaveStats{"a": {}})
		p := statuspage.New(f)
		p.Close()
		p.Close()
		asked := f.times()
		later(time.Minute)
		if f.times() != asked {
			t.Error("a closed page goes on to sample")
		}
		if got := read(t, p); len(got.Enclaves) != 1 {
			t.Errorf("%d enclaves", len(got.Enclaves))
		}
	})
}

func TestTheEndOfThePoolEndsWhatRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(map[string]pool.EnclaveStats{"a": {}})
		statuspage.New(f)
		close(f.events)
		later(time.Minute) // a goroutine that is left deadlocks the bubble
		if n := f.times(); n > 2 {
			t.Errorf("Stats was called %d times", n)
		}
	})
}
