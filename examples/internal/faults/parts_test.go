package faults

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
)

func at(n int) time.Time { return time.Unix(0, 0).Add(time.Duration(n) * ms) }

func TestCallsAreChosenByEnclaveTimeAndOutcome(t *testing.T) {
	lost := &pool.Error{EnclaveID: "a", Reason: pool.ErrUnavailable, Disposition: pool.Unknown}
	turned := &pool.Error{EnclaveID: "a", Reason: pool.ErrUnavailable}
	cs := calls{
		{caller: 1, enclave: "a", begin: at(0), end: at(10)},
		{caller: 1, enclave: "a", begin: at(20), end: at(60), err: lost, attempts: 3},
		{caller: 2, enclave: "b", begin: at(30), end: at(40)},
		{caller: 2, enclave: "a", begin: at(50), end: at(51), err: turned},
		{caller: 2, enclave: "a", begin: at(52), end: at(55), err: status.Error(codes.Canceled, "by whom")},
	}
	for name, c := range map[string]struct{ got, want int }{
		"on b":          {len(cs.on("b")), 1},
		"failed":        {len(cs.failed()), 3},
		"begun":         {len(cs.begun(at(20), at(50))), 2},
		"in flight":     {len(cs.inFlight(at(35))), 2},
		"most failures": {cs.failed().most(), 2},
		"latencies":     {len(cs.latencies()), 2},
		"extra":         {cs.extra(), 2},
		"unsent":        {len(cs.where(func(c call) bool { return unsent(c.err) })), 1},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", name, c.got, c.want)
		}
	}
	if cs.slowest() != 40*ms || cs.latencies()[1] != 10*ms {
		t.Errorf("slowest %v, latencies %v", cs.slowest(), cs.latencies())
	}
	text, wrong := cs.kinds(unavailable)
	if text != "1 Canceled; 1 Unavailable, not_sent; 1 Unavailable, unknown" || len(wrong) != 1 || !strings.Contains(wrong[0], "by whom") {
		t.Errorf("%q, %q", text, wrong)
	}
}

func TestCallsThatFailedOnOneConnectionShareAMoment(t *testing.T) {
	gone := errors.New("gone")
	fine := calls{
		{begin: at(0), end: at(20), err: gone, conn: 1}, {begin: at(10), end: at(21), err: gone, conn: 1},
		{begin: at(5), end: at(15), conn: 1}, {begin: at(12), end: at(15), conn: 1},
		{begin: at(50), end: at(60), err: gone, conn: 2},
	}
	var r Result
	if affected, inFlight := fine.sharedFate(&r); affected != 2 || inFlight != 4 || len(r.Broken) > 0 {
		t.Errorf("%d connections, %d in flight, %q", affected, inFlight, r.Broken)
	}
	odd := calls{{begin: at(0), end: at(20), err: gone, conn: 1}, {begin: at(30), end: at(40), err: gone, conn: 1}}
	if odd.sharedFate(&r); len(r.Broken) == 0 {
		t.Error("two that failed one after the other were accepted")
	}
}

func TestAttemptsAreCountedByWindowAndAtOnce(t *testing.T) {
	list := []attempt{{begin: at(0), end: at(30)}, {begin: at(10), end: at(12)}, {begin: at(20), end: at(1500)}, {begin: at(999), end: at(1000)}, {begin: at(1000)}}
	if got := busiest(list, time.Second); got != 4 {
		t.Errorf("%d within a second, want 4", got)
	}
	if got := atOnce(list, 0); got != 2 {
		t.Errorf("%d at once, want 2", got)
	}
	if got := atOnce(list, 12*ms); got != 2 {
		t.Errorf("%d at once for longer than 12 ms, want 2", got)
	}
	if busiest(nil, time.Second)+atOnce(nil, 0) != 0 {
		t.Error("none are some")
	}
}

func TestSuccessesAreCountedByWhenTheyEnd(t *testing.T) {
	made := calls{{end: at(0)}, {end: at(199)}, {end: at(200)}, {end: at(399), err: errors.New("no")}, {end: at(600)}}
	got := successes(made, at(0), at(600))
	if len(got) != 3 || got[0] != 2 || got[1] != 1 || got[2] != 0 {
		t.Errorf("%v, want [2 1 0]", got)
	}
}

// What row 17 reloads is not valid exactly where it says so, and has every kind of change.
func TestEveryTenthReloadIsNotValidAndTheRestChangeEverything(t *testing.T) {
	r := &reloads{path: filepath.Join(t.TempDir(), "pool.env"), targets: map[string]string{"A": "unix:/a", "A2": "unix:/a2", "B": "unix:/b", "C": "unix:/c"}}
	bad, sizes, targets, enclaves := 0, map[int]bool{}, map[string]bool{}, map[int]bool{}
	for i := range 1000 {
		next := planned(i)
		cfg, err := r.load(next.lines())
		if (err != nil) != (len(next.bad) > 0) {
			t.Errorf("reload %d, %q: %v", i, next.lines(), err)
		}
		if err != nil {
			bad++
			continue
		}
		sizes[cfg.MinConns], targets[cfg.Enclaves[0].Target], enclaves[len(cfg.Enclaves)] = true, true, true
	}
	if bad != 100 || len(sizes) != 3 || len(targets) != 2 || len(enclaves) != 2 {
		t.Errorf("%d not valid, sizes %v, targets %v, enclaves %v", bad, sizes, targets, enclaves)
	}
}

func TestUnknownRowsAreRefused(t *testing.T) {
	err := Config{Rows: []int{1, 9, 99}}.Validate()
	if err == nil || !strings.Contains(err.Error(), "9 is not valid") || !strings.Contains(err.Error(), "99 is not valid") {
		t.Errorf("%v", err)
	}
	if err := (Config{Rows: []int{1, 24}}).Validate(); err != nil {
		t.Error(err)
	}
}

// A row that is shown elsewhere names a test; it has to be there.
func TestTheTestsThatRowsNameExist(t *testing.T) {
	name := regexp.MustCompile(`Test\w+`)
	sources, err := filepath.Glob("../../../*/*_test.go")
	if err != nil || len(sources) == 0 {
		t.Fatal("no tests found", err)
	}
	var all strings.Builder
	for _, path := range sources {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for _, row := range []row{row18} {
		var r Result
		if err := row.run(context.Background(), &rig{}, &r); err != nil {
			t.Fatal(err)
		}
		for _, n := range name.FindAllString(strings.Join(r.NotShown, " "), -1) {
			if !strings.Contains(all.String(), "func "+n+"(") {
				t.Errorf("row %d names %s, which does not exist", row.number, n)
			}
		}
	}
}
