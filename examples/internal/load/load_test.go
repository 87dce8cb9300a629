package load

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service runs an enclave and returns connections to it.
func service(t *testing.T, o enclave.Options, conns int) (*enclave.Server, []grpc.ClientConnInterface) {
	t.Helper()
	s, err := enclave.New(o)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "e.sock")
	lis, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	out := make([]grpc.ClientConnInterface, conns)
	for i := range out {
		cc, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cc.Close() })
		out[i] = cc
	}
	return s, out
}

func brief(conns []grpc.ClientConnInterface) Config {
	return Config{Conns: conns, Callers: 4, Duration: 200 * time.Millisecond, Keys: 3, Timeout: 5 * time.Second, VerifyEvery: 1}
}

func mustRun(t *testing.T, ctx context.Context, cfg Config) *Report {
	t.Helper()
	r, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	// What holds of every run.
	if r.Succeeded != r.Latency.Count || r.Failed != r.ErrorLatency.Count || r.Succeeded != r.Signatures.Made {
		t.Errorf("counts disagree: %+v %+v", r.Totals, r.Signatures)
	}
	var succeeded, failed uint64
	var end time.Duration
	for _, i := range r.Intervals {
		if i.Start != end {
			t.Errorf("an interval begins at %v, the last one ended at %v", i.Start, end)
		}
		succeeded, failed, end = succeeded+i.Succeeded, failed+i.Failed, i.End
	}
	if succeeded != r.Succeeded || failed != r.Failed {
		t.Errorf("intervals sum up to %d and %d, the report to %d and %d", succeeded, failed, r.Succeeded, r.Failed)
	}
	return r
}

func TestEverySignatureIsVerifiedInBothModesAndAlgorithms(t *testing.T) {
	s, conns := service(t, enclave.Options{}, 2)
	for _, mode := range []Mode{Unary, Stream} {
		for _, alg := range []signerv1.Algorithm{signerv1.Algorithm_ALGORITHM_ECDSA_SECP256K1, signerv1.Algorithm_ALGORITHM_ED25519} {
			t.Run(string(mode)+" "+alg.String(), func(t *testing.T) {
				cfg := brief(conns)
				cfg.Mode, cfg.Algorithm = mode, alg
				before := s.Stats().Signatures
				r := mustRun(t, t.Context(), cfg)
				if r.Succeeded == 0 || r.Failed != 0 || r.Signatures.Verified != r.Succeeded || r.Signatures.Invalid != 0 {
					t.Errorf("%+v %+v", r.Totals, r.Signatures)
				}
				if got := s.Stats().Signatures - before; got != r.Succeeded {
					t.Errorf("the enclave made %d signatures, the report has %d", got, r.Succeeded)
				}
				if r.Algorithm != alg.String() || (mode == Stream) != (r.StreamsOpened == 4) {
					t.Errorf("algorithm %s, %d streams", r.Algorithm, r.StreamsOpened)
				}
			})
		}
	}
	if got := s.Stats().ConnectionsAccepted; got != 2 {
		t.Errorf("%d connections used, want 2", got)
	}
}

func TestSignaturesThatDoNotVerifyAreCountedAndShown(t *testing.T) {
	_, conns := service(t, enclave.Options{Sign: enclave.SignEcho}, 1)
	r := mustRun(t, t.Context(), brief(conns))
	if r.Signatures.Invalid != r.Succeeded || r.Signatures.Verified != 0 || r.Signatures.Example == "" {
		t.Errorf("%+v", r.Signatures)
	}
	cfg := brief(conns)
	cfg.VerifyEvery = 10
	if r := mustRun(t, t.Context(), cfg); r.Signatures.Invalid != r.Succeeded/10 {
		t.Errorf("one in ten: %d of %d", r.Signatures.Invalid, r.Succeeded)
	}
	cfg.VerifyEvery = 0
	if r := mustRun(t, t.Context(), cfg); r.Signatures.Invalid != 0 {
		t.Errorf("none: %+v", r.Signatures)
	}
}

// disturbed runs the load until enough is true of an interval, after disturb was called in the midst of
// it; the keys and streams are there by then.
func disturbed(t *testing.T, cfg Config, disturb func(), enough func(Interval) bool) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cfg.Duration, cfg.ProgressEvery = time.Hour, 50*time.Millisecond
	var once sync.Once
	cfg.Progress = func(i Interval) {
		if i.Succeeded > 0 {
			once.Do(disturb)
		}
		if enough(i) {
			cancel()
		}
	}
	return mustRun(t, ctx, cfg)
}

func faults(t *testing.T, s *enclave.Server, f enclave.Faults) {
	t.Helper()
	if err := s.SetFaults(f); err != nil {
		t.Error(err)
	}
}

func TestErrorsAreCountedByKind(t *testing.T) {
	s, conns := service(t, enclave.Options{}, 1)
	for _, mode := range []Mode{Unary, Stream} {
		cfg := brief(conns)
		cfg.Mode = mode
		r := disturbed(t, cfg, func() {
			faults(t, s, enclave.Faults{RefuseFraction: 1, RefuseCode: codes.ResourceExhausted})
		}, func(i Interval) bool { return i.Failed > 0 })
		faults(t, s, enclave.Faults{})
		e := r.Errors["ResourceExhausted"]
		if r.Succeeded == 0 || e.Count == 0 || e.Count != r.Failed || e.Example == "" {
			t.Errorf("%s: %+v", mode, r.Totals)
		}
		if mode == Stream && r.StreamsOpened != 4 {
			t.Errorf("%d streams opened: error answers must not cost a stream", r.StreamsOpened)
		}
	}
}

func TestLostStreamsAreReplaced(t *testing.T) {
	s, conns := service(t, enclave.Options{}, 1)
	cfg := brief(conns)
	cfg.Mode = Stream
	lost, back := false, false
	r := disturbed(t, cfg, func() { s.DropConns(0) }, func(i Interval) bool {
		lost = lost || i.Failed > 0
		back = back || lost && i.Failed == 0 && i.Succeeded > 0
		return back
	})
	if r.StreamsOpened < 8 || r.Errors["Unavailable"].Count < 4 {
		t.Errorf("%d streams opened, errors %v", r.StreamsOpened, r.Errors)
	}
	if !back {
		t.Error("nothing went on after the loss")
	}
}

func TestStalledExchangeEndsAtItsTimeoutAndKeepsItsStream(t *testing.T) {
	s, conns := service(t, enclave.Options{}, 1)
	cfg := brief(conns)
	cfg.Mode, cfg.Timeout = Stream, 500*time.Millisecond
	r := disturbed(t, cfg, func() { faults(t, s, enclave.Faults{StallFraction: 1}) }, func(i Interval) bool { return i.Failed > 0 })
	if r.Errors["DeadlineExceeded"].Count == 0 || r.Errors["DeadlineExceeded"].Count != r.Failed || r.StreamsOpened != 4 {
		t.Errorf("%+v, %d streams", r.Totals, r.StreamsOpened)
	}
	if r.ErrorLatency.P50 < 500*time.Millisecond {
		t.Errorf("timeouts after %v", r.ErrorLatency.P50)
	}
}

func TestOpenLoopKeepsItsRateAndChargesAStallToAllItHeldUp(t *testing.T) {
	_, conns := service(t, enclave.Options{Faults: enclave.Faults{Delay: 20 * time.Millisecond}}, 1)
	cfg := brief(conns)
	cfg.Callers, cfg.Rate, cfg.Duration = 8, 100, 500*time.Millisecond
	r := mustRun(t, t.Context(), cfg)
	if got := r.Succeeded + r.Missed; got != 50 || r.Succeeded == 0 {
		t.Errorf("%d calls begun and %d missed, want 50 in all", r.Succeeded, r.Missed)
	}
	// One caller at 20 ms a call makes 50 a second at most: of 200 a second the backlog grows, and with
	// it the latency, although no call takes longer than before.
	cfg.Callers, cfg.Rate = 1, 200
	r = mustRun(t, t.Context(), cfg)
	if got := r.Succeeded + r.Missed; got != 100 || r.Missed < 50 {
		t.Errorf("%d calls begun and %d missed, want 100 in all and most of them missed", r.Succeeded, r.Missed)
	}
	if r.Latency.Max < 200*time.Millisecond {
		t.Errorf("the longest latency is %v: the time calls were held up is missing", r.Latency.Max)
	}
}

func TestRunEndsEarlyWithItsContextAndStillReports(t *testing.T) {
	_, conns := service(t, enclave.Options{}, 1)
	r := disturbed(t, brief(conns), func() {}, func(i Interval) bool { return i.Succeeded > 0 })
	if !r.Interrupted || r.Succeeded == 0 || r.Failed != 0 || r.Signatures.Verified != r.Succeeded {
		t.Errorf("%+v %+v", r.Totals, r.Signatures)
	}
}

func TestRunFailsWhenTheServiceCannotBeSetUp(t *testing.T) {
	_, conns := service(t, enclave.Options{Faults: enclave.Faults{RefuseFraction: 1, RefuseCode: codes.PermissionDenied}}, 1)
	if _, err := Run(context.Background(), brief(conns)); status.Code(errors.Unwrap(errors.Unwrap(err))) != codes.PermissionDenied {
		t.Errorf("keys refused: %v", err)
	}
	_, conns = service(t, enclave.Options{MaxConcurrentStreams: 3}, 1)
	cfg := brief(conns)
	cfg.Mode, cfg.SetupTimeout = Stream, 200*time.Millisecond
	if _, err := Run(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "stream 4 of 4") {
		t.Errorf("four streams where three are allowed: %v", err)
	}
}

func TestValidateReportsEveryBadField(t *testing.T) {
	err := Config{Mode: "sideways", Rate: -1, VerifyEvery: -1, SetupTimeout: -1, ProgressEvery: -1}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, field := range []string{"mode:", "callers:", "keys:", "duration:", "timeout:", "rate:", "verify-every:", "setup-timeout:", "progress-every:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%q is not in %q", field, err)
		}
	}
	if _, err := Run(context.Background(), brief(nil)); err == nil {
		t.Error("ran without connections")
	}
}

func TestReportSurvivesJSONAndReadsWell(t *testing.T) {
	_, conns := service(t, enclave.Options{Sign: enclave.SignEcho}, 1)
	r := mustRun(t, t.Context(), brief(conns))
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if back.Latency != r.Latency || back.Signatures != r.Signatures || len(back.Intervals) != len(r.Intervals) {
		t.Errorf("got back %+v", back)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"unary, 4 callers", "p99.9", "closed loop", "invalid", "key \"load-"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, &text)
		}
	}
	if line := (Interval{End: time.Second, Totals: Totals{Failed: 2, Errors: map[string]Errors{"Unavailable": {Count: 2}}}, Invalid: 1}).String(); !strings.Contains(line, "Unavailable 2") || !strings.Contains(line, "1 INVALID") {
		t.Errorf("the line is %q", line)
	}
}
