package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/examples/internal/enclave"
)

func TestOperatorDrainsAndCordons(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a", "b")
	if err := r.gateway.pool.Ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	call := func(query string, header ...string) int {
		req := httptest.NewRequestWithContext(limited(t), http.MethodPost, "/debug/enclave?"+query, nil)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		r.gateway.operate(w, req)
		return w.Code
	}
	member := func() (breaker.State, bool) {
		m, _ := r.gateway.pool.View().Member("a")
		return m.State, m.Cordoned
	}
	for _, c := range []struct {
		query    string
		code     int
		state    breaker.State
		cordoned bool
	}{
		{"id=a&action=cordon", 200, breaker.Healthy, true},
		{"id=a&action=drain", 200, breaker.Draining, true},
		{"id=a&action=uncordon", 200, breaker.Draining, false},
		{"id=a&action=stop", 400, breaker.Draining, false},
		{"id=z&action=drain", 404, breaker.Draining, false},
		{"action=drain", 404, breaker.Draining, false},
	} {
		if code := call(c.query); code != c.code {
			t.Errorf("%s: %d, want %d", c.query, code, c.code)
		}
		if state, cordoned := member(); state != c.state || cordoned != c.cordoned {
			t.Errorf("%s: %v, cordoned %v", c.query, state, cordoned)
		}
	}
	for _, h := range [][]string{{"Origin", "http://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "same-origin"}} {
		if code := call("id=a&action=resume", h...); code != 403 {
			t.Errorf("a browser with %v: %d", h, code)
		}
	}
	if code := call("id=a&action=resume"); code != 200 {
		t.Errorf("resume: %d", code)
	}
	eventually(t, "a is back", func() bool { state, _ := member(); return state == breaker.Healthy })
}
