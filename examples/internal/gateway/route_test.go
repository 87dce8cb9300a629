package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/examples/internal/enclave"
)

// routeOf asks over HTTP.
func (r *rig) routeOf(t *testing.T, keyID string) routeBody {
	t.Helper()
	code, page := r.get(t, "/v1/route?key_id="+keyID)
	var got routeBody
	if err := json.Unmarshal([]byte(page), &got); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s", code, page)
	}
	return got
}

func TestRouteSaysWhereAKeyBelongsAndChangesNothing(t *testing.T) {
	r := start(t, enclave.Options{}, func(c *Config) { c.Selector, _ = ParseRouting("spill:1") }, "a", "b", "c")
	if err := r.gateway.pool.Ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	key := r.keyAt(t, "a")
	if got := r.routeOf(t, key); got != (routeBody{KeyID: key, OwnerID: "a", EnclaveID: "a"}) {
		t.Errorf("%+v", got)
	}
	r.enclaves["a"].Close()
	eventually(t, "a is away", func() bool { m, _ := r.gateway.pool.View().Member("a"); return m.State != breaker.Healthy })
	if got := r.routeOf(t, key); got.OwnerID != "a" || got.EnclaveID == "a" || got.EnclaveID == "" {
		t.Errorf("while a is away: %+v", got)
	}
	r.enclaves["a"] = startEnclave(t, r.targets["a"], enclave.Options{})
	eventually(t, "it is back where it belongs", func() bool { return r.routeOf(t, key).EnclaveID == "a" })
}

func TestRouteSaysWhyAKeyHasNoPlaceNow(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	if err := r.gateway.pool.Ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	r.enclaves["a"].Close()
	eventually(t, "a is away", func() bool {
		got := r.routeOf(t, "k")
		return got.OwnerID == "a" && got.EnclaveID == "" && strings.Contains(got.Reason, "degraded")
	})
}

func TestRouteTakesManyKeysAtOnce(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a", "b")
	if err := r.gateway.pool.Ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	var asked routesBody
	for i := range 1000 {
		asked.KeyIDs = append(asked.KeyIDs, fmt.Sprint("k", i))
	}
	text, err := json.Marshal(asked)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(limited(t), http.MethodPost, "http://gateway/v1/route", strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := r.web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got routedBody
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || len(got.Routes) != len(asked.KeyIDs) {
		t.Fatal(len(got.Routes), err)
	}
	for i, route := range got.Routes {
		if want := r.owner(asked.KeyIDs[i]); route != (routeBody{asked.KeyIDs[i], want, want, ""}) {
			t.Fatalf("%+v, want %s", route, want)
		}
	}
}

func TestRouteRefusesWhatItDoesNotUnderstand(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/v1/route", "", 400},
		{"GET", "/v1/route?key_id=", "", 400},
		{"POST", "/v1/route", `{}`, 400},
		{"POST", "/v1/route", `{"key_ids":["a",""]}`, 400},
		{"POST", "/v1/route", `{"keys":["a"]}`, 400},
		{"PUT", "/v1/route", `{}`, 405},
	} {
		code, header, body := r.request(t, c.method, c.path, c.body, "Content-Type", "application/json")
		if code != c.want || body.Error.Message == "" || (header.Get("Allow") == "GET, POST") != (code == 405) {
			t.Errorf("%s %s %s: %d %+v", c.method, c.path, c.body, code, body.Error)
		}
	}
}
