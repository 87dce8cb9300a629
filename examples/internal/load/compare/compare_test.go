package compare

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	"github.com/enclavepool/enclavepool/pool"
)

func TestMain(m *testing.M) {
	if PlayEnclave() {
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// brief measures nothing of worth, in every way that there is.
func brief(enclaves ...pool.Enclave) Config {
	return Config{Enclaves: enclaves, Rounds: 2, Turn: 30 * time.Millisecond, WarmUp: time.Millisecond, Timeout: 10 * time.Second,
		EchoCallers: []int{1, 3}, SigningCallers: []int{2}}
}

func mustRun(t *testing.T, cfg Config) *Report {
	t.Helper()
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range r.Tables {
		for _, row := range table.Rows {
			if row.Signatures == 0 || row.Errors > 0 || row.Wrong > 0 || row.Throughput.Low <= 0 || row.Allocs.Low <= 0 ||
				len(row.Throughput.Rounds) != cfg.Rounds || row.P50.Median > row.P99.Median || row.P99.Median > row.P999.Median {
				t.Errorf("%s, %d callers: %+v", table.Signing, table.Callers, row)
			}
		}
	}
	return r
}

// shape is which tables there are, and their modes.
func shape(r *Report) (all string) {
	for _, t := range r.Tables {
		var modes []string
		for _, row := range t.Rows {
			modes = append(modes, row.Mode)
		}
		all += t.Signing + ": " + strings.Join(modes, " ") + "\n"
	}
	return all
}

const allModes = "dial shared roundrobin16 pool-unary pool-streams\n"

func TestEveryModeIsMeasuredOnEnclavesOfItsOwn(t *testing.T) {
	var told []string
	cfg := brief()
	cfg.Progress = func(s string) { told = append(told, s) }
	r := mustRun(t, cfg)
	if got, want := shape(r), "echo: "+allModes+"echo: "+allModes+"ed25519: "+allModes+"secp256k1: "+allModes; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if len(told) != 4*2*5 {
		t.Errorf("told %d times of progress, want once a turn", len(told))
	}
	for _, row := range r.Tables[0].Rows {
		if (row.ClientCPU == nil || row.EnclaveCPU == nil) && cpuTime() > 0 {
			t.Errorf("%s: no CPU time: %+v", row.Mode, row)
		}
		switch {
		case row.Mode == Dial && *row.Dials != row.Signatures, row.Mode == RoundRobin && row.Dials != nil:
			t.Errorf("%s: %v dials for %d signatures", row.Mode, row.Dials, row.Signatures)
		case row.Mode == Shared && row.Ratio.Median != 1:
			t.Errorf("%s is %v times itself", row.Mode, row.Ratio)
		}
	}

	out, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again Report
	if err := json.Unmarshal(out, &again); err != nil || shape(&again) != shape(r) {
		t.Errorf("%v in %s", err, out)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\necho, 1 caller\n", "\nsecp256k1, 2 callers\n", "process of its own", "  pool-streams"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}

// fake runs an enclave in this process.
func fake(t *testing.T, sign enclave.SignMode, id string) pool.Enclave {
	t.Helper()
	s, err := enclave.New(enclave.Options{Sign: sign})
	if err != nil {
		t.Fatal(err)
	}
	address := "unix:" + filepath.Join(t.TempDir(), "e.sock")
	lis, err := enclave.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	t.Cleanup(func() { s.Close(); <-served })
	return pool.Enclave{ID: id, Target: address}
}

func TestGivenEnclavesAreMeasuredByWhatTheyDo(t *testing.T) {
	e1, e2 := fake(t, enclave.SignEcho, "a"), fake(t, enclave.SignEcho, "b")
	cfg := brief(e1, e2)
	cfg.EchoCallers = []int{3}
	r := mustRun(t, cfg)
	if got, want := shape(r), "echo: "+allModes; got != want || r.Tables[0].Rows[0].EnclaveCPU != nil {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	cfg = brief(fake(t, enclave.SignReal, "a"))
	cfg.Rounds = 1
	if got, want := shape(mustRun(t, cfg)), "ed25519: "+allModes+"secp256k1: "+allModes; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if _, err := Run(t.Context(), brief(e1, fake(t, enclave.SignReal, "c"))); !errors.Is(err, errMixed) {
		t.Errorf("error %v, want %v", err, errMixed)
	}
}

func TestDialIsLeftOutForManyCallersAndThatIsSaid(t *testing.T) {
	cfg := brief(fake(t, enclave.SignEcho, "a"))
	cfg.EchoCallers, cfg.Rounds = []int{dialMost + 1}, 1
	r := mustRun(t, cfg)
	if got := shape(r); strings.Contains(got, Dial) || len(r.Tables[0].Notes) != 1 {
		t.Errorf("%s%q", got, r.Tables[0].Notes)
	}
}

func TestARunThatCannotBeSetUpFails(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, run := range map[string]func() (*Report, error){
		"interrupted": func() (*Report, error) { return Run(stopped, brief(fake(t, enclave.SignEcho, "a"))) },
		"bad":         func() (*Report, error) { return Run(t.Context(), Config{}) },
	} {
		if r, err := run(); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestEverythingThatIsWrongIsReportedTogether(t *testing.T) {
	cfg := Config{Rounds: -1, WarmUp: -1, EchoCallers: []int{0}, SigningCallers: []int{1e9},
		Enclaves: []pool.Enclave{{ID: "a", Target: "vsock:16:5000"}, {ID: "a", Target: "vsock:16:5001"}, {ID: "b", Target: "vsock:2"}}}
	err := cfg.Validate()
	for _, want := range []string{"rounds: -1", "turn: 0s", "warm-up: -1ns", "timeout: 0s", "callers: 0", "callers: 1000000000", `enclaves: "a"`, "enclaves: b"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	for _, cfg := range []Config{Full(), Quick()} {
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestAnEnclavesProcessNeedsToKnowWhatToDo(t *testing.T) {
	for _, role := range []string{"", "loudly unix:/x", "echo vsock:2"} {
		if err := playEnclave(role); err == nil {
			t.Errorf("%q was played", role)
		}
	}
}

func TestWrongAnswersAndErrorsAreCountedAndNotMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks := []task{{want: []byte("right")}, {want: []byte("other")}}
		bad := errors.New("refused")
		m := mode{sign: func(_ context.Context, _ *task) ([]byte, error) {
			time.Sleep(time.Millisecond)
			return []byte("right"), nil
		}}
		failing := mode{sign: func(context.Context, *task) ([]byte, error) { return nil, bad }}
		c := newCrowd([][]task{tasks, tasks[:1]}, time.Second)
		got, err := c.turn(t.Context(), m, nil, 0, time.Second)
		if err != nil || got.wrong != 500 || got.signed != 500+1000 || got.failed != 0 || got.p50 != time.Millisecond || got.p999 != time.Millisecond {
			t.Errorf("%+v, %v", got, err)
		}
		got, err = c.turn(t.Context(), failing, nil, 0, time.Second)
		if n := uint64(2 * time.Second / failurePause); err != nil || got.failed != n || got.signed != 0 || got.example != bad {
			t.Errorf("%+v, %v", got, err)
		}
		r := Report{Tables: []Table{{Rows: []Row{row("m", []turn{{failed: 1, wrong: 2, example: bad}, {wrong: 3}}, []turn{{}, {}})}}}}
		if r.Errors() != 1 || r.Wrong() != 5 {
			t.Errorf("%d errors, %d wrong", r.Errors(), r.Wrong())
		}
		var text strings.Builder
		if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "5 WRONG ANSWERS") || !strings.Contains(text.String(), "such as refused") {
			t.Errorf("%v\n%s", err, text.String())
		}
	})
}

func TestAFigureIsTheMedianBetweenTheExtremes(t *testing.T) {
	if f := figure([]float64{3, 1, 2}); f.Median != 2 || f.Low != 1 || f.High != 3 || f.Rounds[0] != 3 {
		t.Errorf("%+v", f)
	}
	for f, want := range map[float64]string{123.4: "123µs", 1234.5: "1.23ms", 123456: "123ms"} {
		if got := latency(Figure{Median: f}); got != want {
			t.Errorf("%v µs is %q, want %q", f, got, want)
		}
	}
}
