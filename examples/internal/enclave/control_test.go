package enclave

import (
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

var waitForReady = grpc.WaitForReady(true)

// control does one request to the endpoint.
func control(t *testing.T, s *Server, method, url, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.Control().ServeHTTP(w, httptest.NewRequest(method, url, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func idle(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestControlChangesTheNamedFaultsOnly(t *testing.T) {
	s := idle(t, Options{Faults: Faults{StallFraction: 0.25}})
	code, body := control(t, s, "POST", "/faults", `{"delay":"50ms","delay_fraction":0.5,"reset_code":"cancel","refuse_code":14,"not_serving":true}`)
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	want := Faults{Delay: 50 * time.Millisecond, DelayFraction: 0.5, StallFraction: 0.25, ResetCode: http2.ErrCodeCancel,
		RefuseCode: codes.Unavailable, NotServing: true}
	if got := s.Faults(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	_, shown := control(t, s, "GET", "/faults", "")
	if shown != body {
		t.Errorf("GET answered %s, POST %s", shown, body)
	}
	if code, body := control(t, s, "POST", "/faults", shown); code != http.StatusOK || s.Faults() != want {
		t.Errorf("posting what GET gave: %d %s", code, body)
	}
}

func TestControlRefusesABadPatchWholeAndSaysWhatIsValid(t *testing.T) {
	s := idle(t, Options{MaxConcurrentStreams: 10})
	before := s.Faults()
	for patch, want := range map[string][]string{
		`{"delay":"50ms","dealy_fraction":1}`:            {"dealy_fraction", "unknown", "delay_fraction"},
		`{"delay":"50ms","stall_fraction":1.5}`:          {"stall_fraction", "1.5", "0 to 1"},
		`{"stall_fraction":"NaN"}`:                       {"stall_fraction", "NaN", "0 to 1"},
		`{"delay":"-1s"}`:                                {"delay", "-1s", "duration of 0 or more"},
		`{"delay":50}`:                                   {"delay", "50", "duration"},
		`{"delay":null}`:                                 {"delay", "null", "duration"},
		`{"refuse_code":"OK"}`:                           {"refuse_code", "OK", "UNAVAILABLE"},
		`{"reset_code":"NO_ERROR"}`:                      {"reset_code", "NO_ERROR", "REFUSED_STREAM"},
		`{"drop_every_calls":-3}`:                        {"drop_every_calls", "-3", "whole number"},
		`{"not_serving":"maybe"}`:                        {"not_serving", "maybe", "true or false"},
		`{"max_concurrent_streams":11}`:                  {"max_concurrent_streams", "11", "0 to 10"},
		`{"delay":"1s","refuse_fraction":2,"x":{"y":1}}`: {"refuse_fraction", "x: unknown"},
		`[]`:   {"JSON object"},
		`null`: {"JSON object"},
		`{`:    {"JSON object"},
		``:     {"JSON object"},
	} {
		code, body := control(t, s, "POST", "/faults", patch)
		if code != http.StatusBadRequest {
			t.Errorf("%s: %d", patch, code)
		}
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s: the message lacks %q: %s", patch, w, body)
			}
		}
		if s.Faults() != before {
			t.Fatalf("%s: changed the faults to %+v", patch, s.Faults())
		}
	}
}

func TestControlDropsConnectionsAndShowsStats(t *testing.T) {
	s, address := start(t, Options{})
	create(t, client(t, address), "k", edAlg)
	if code, body := control(t, s, "POST", "/drop?connections=0", ""); code != http.StatusBadRequest {
		t.Errorf("%d %s", code, body)
	}
	if code, body := control(t, s, "POST", "/drop", ""); code != http.StatusOK || !strings.Contains(body, `"dropped": 1`) {
		t.Errorf("%d %s", code, body)
	}
	_, body := control(t, s, "GET", "/stats", "")
	var st Stats
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		t.Fatal(err)
	}
	if st.ServingSince.IsZero() {
		t.Error("not said since when it serves")
	}
	st.ServingSince = time.Time{}
	st.ConnectionsAccepted, st.ConnectionsOpen = 0, 0 // the client may be back already
	want := Stats{ConnectionsDropped: 1, Keys: 1, RPCs: map[string]uint64{"/signer.v1.SignerService/Create": 1}}
	if !reflect.DeepEqual(st, want) {
		t.Errorf("got  %+v\nwant %+v", st, want)
	}
}

func TestLogNamesOnlyTheFaultsThatAre(t *testing.T) {
	if got := (Faults{}).withDefaults().LogValue().String(); got != "none" {
		t.Errorf("without faults: %s", got)
	}
	got := Faults{Delay: time.Second, NotServing: true}.withDefaults().LogValue().Group()
	if len(got) != 2 || got[0].String() != "delay=1s" || got[1].String() != "not_serving=true" {
		t.Errorf("got %v", got)
	}
}

func TestFaultsAreFlagsToo(t *testing.T) {
	var f Faults
	fs := flag.NewFlagSet("enclave", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f.Flags(fs)
	if err := fs.Parse([]string{"-delay", "5ms", "-reset-fraction", "0.1", "-reset-code", "REFUSED_STREAM", "-not-serving"}); err != nil {
		t.Fatal(err)
	}
	want := Faults{Delay: 5 * time.Millisecond, ResetFraction: 0.1, ResetCode: http2.ErrCodeRefusedStream, NotServing: true}.withDefaults()
	if f != want {
		t.Errorf("got  %+v\nwant %+v", f, want)
	}
	if err := fs.Parse([]string{"-stall-fraction", "2"}); err == nil || !strings.Contains(err.Error(), "0 to 1") {
		t.Errorf("a bad fraction gave %v", err)
	}
}

func TestNewReportsEveryBadOption(t *testing.T) {
	_, err := New(Options{Sign: "loudly", KeepaliveMinTime: -1, Faults: Faults{Delay: -1, StallFraction: 3, MaxConcurrentStreams: 500}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"sign:", "keepalive_min_time:", "delay:", "stall_fraction:", "max_concurrent_streams:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}
