package gateway

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

func openStream(t *testing.T, r *rig) signerv1.SignerService_SignStreamClient {
	t.Helper()
	s, err := r.signer.SignStream(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask makes one exchange.
func ask(t *testing.T, s signerv1.SignerService_SignStreamClient, m *signerv1.SignStreamRequest) *signerv1.SignStreamResponse {
	t.Helper()
	if err := s.Send(m); err != nil {
		t.Fatal(err)
	}
	res, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if res.GetId() != m.GetId() {
		t.Fatalf("answer to %d, want %d", res.GetId(), m.GetId())
	}
	return res
}

func signMessage(id uint64, keyID string) *signerv1.SignStreamRequest {
	return &signerv1.SignStreamRequest{Id: id, Request: &signerv1.SignStreamRequest_Sign{
		Sign: &signerv1.SignRequest{KeyId: keyID, Digest: digest}}}
}

func createMessage(id uint64, keyID string, a signerv1.Algorithm) *signerv1.SignStreamRequest {
	return &signerv1.SignStreamRequest{Id: id, Request: &signerv1.SignStreamRequest_Create{
		Create: &signerv1.CreateRequest{KeyId: keyID, Algorithm: a}}}
}

// streams counts the streams that have been opened to an enclave.
func (r *rig) streams(id string) uint64 {
	return r.enclaves[id].Stats().RPCs[signerv1.SignerService_SignStream_FullMethodName]
}

// eventually waits until something is so that becomes so by itself.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !is(); <-tick.C {
		if time.Since(began) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func TestOneStreamReachesEveryEnclaveInTheOrderOfTheRequests(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a", "b")
	s := openStream(t, r)
	public := map[string][]byte{}
	for i, id := range []string{"a", "b"} {
		created := ask(t, s, createMessage(uint64(i), r.keyAt(t, id), edAlg)).GetCreate()
		public[id] = created.GetPublicKey()
	}
	if created := ask(t, s, createMessage(3, "", ecdsaAlg)).GetCreate(); created.GetKeyId() == "" || created.GetAlgorithm() != ecdsaAlg {
		t.Errorf("without a name: %v", created)
	}
	const n = 200
	go func() {
		for i := range uint64(n) {
			// The clients' ids are theirs to choose; they need not even differ.
			if s.Send(signMessage(i/2, r.keyAt(t, []string{"a", "b"}[i%2]))) != nil {
				return
			}
		}
		_ = s.CloseSend()
	}()
	for i := range uint64(n) {
		res, err := s.Recv()
		if err != nil || res.GetId() != i/2 {
			t.Fatalf("answer %d: %v, %v", i, res, err)
		}
		if err := signer.Verify(edAlg, public[[]string{"a", "b"}[i%2]], digest, res.GetSign().GetSignature()); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the half-close: %v", err)
	}
	for id := range r.enclaves {
		if got := r.streams(id); got != 1 {
			t.Errorf("%d streams to enclave %s for one stream of a client's", got, id)
		}
	}
}

func TestStreamGoesOnAfterAnErrorAnswer(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a", "b")
	down := r.keyAt(t, "b")
	r.create(t, down, edAlg) // both are connected
	r.enclaves["b"].Close()
	s := openStream(t, r)
	key := r.keyAt(t, "a")
	ask(t, s, createMessage(1, key, edAlg))
	withTimeout := func(id uint64, d *durationpb.Duration) *signerv1.SignStreamRequest {
		m := signMessage(id, key)
		m.Timeout = d
		return m
	}
	for name, c := range map[string]struct {
		m           *signerv1.SignStreamRequest
		want        codes.Code
		disposition string
	}{
		"unknown key":     {signMessage(2, "other-"+key), 0, ""},
		"nothing":         {&signerv1.SignStreamRequest{Id: 3}, codes.InvalidArgument, "not_sent"},
		"bad timeout":     {withTimeout(4, &durationpb.Duration{Seconds: 1, Nanos: -1}), codes.InvalidArgument, "not_sent"},
		"time is over":    {withTimeout(5, durationpb.New(0)), codes.DeadlineExceeded, "not_sent"},
		"no algorithm":    {createMessage(6, key, 77), codes.InvalidArgument, "processed"},
		"enclave is down": {signMessage(7, down), codes.Unavailable, "not_sent"},
	} {
		got := ask(t, s, c.m).GetError()
		if name == "unknown key" { // it leads to either enclave
			if got.GetCode() == 0 {
				t.Error("a signature by an unknown key")
			}
			continue
		}
		if info := errorInfo(t, signer.AsError(got)); codes.Code(got.GetCode()) != c.want || info.GetMetadata()["disposition"] != c.disposition {
			t.Errorf("%s: %v", name, got)
		}
	}
	if ask(t, s, signMessage(8, key)).GetSign() == nil {
		t.Error("no signature after the errors")
	}
	if got := r.streams("a"); got != 1 {
		t.Errorf("%d streams to the enclave: an error answer must not cost a stream", got)
	}
}

func TestExchangeThatStallsEndsAtItsTimeoutAndTheStreamGoesOn(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	s := openStream(t, r)
	ask(t, s, createMessage(1, "k", edAlg))
	if err := r.enclaves["a"].SetFaults(enclave.Faults{StallFraction: 1}); err != nil {
		t.Fatal(err)
	}
	m := signMessage(2, "k")
	m.Timeout = durationpb.New(30 * time.Millisecond)
	began := time.Now()
	if got := ask(t, s, m).GetError(); codes.Code(got.GetCode()) != codes.DeadlineExceeded {
		t.Errorf("got %v", got)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	if err := r.enclaves["a"].SetFaults(enclave.Faults{}); err != nil {
		t.Fatal(err)
	}
	if ask(t, s, signMessage(3, "k")).GetSign() == nil {
		t.Error("no signature after the time-out")
	}
}

func TestTimeOfAnExchangeRunsWhileItWaitsForTheOneBefore(t *testing.T) {
	r := start(t, enclave.Options{Faults: enclave.Faults{Delay: 300 * time.Millisecond}}, nil, "a")
	r.create(t, "k", edAlg)
	s := openStream(t, r)
	if err := s.Send(signMessage(1, "k")); err != nil {
		t.Fatal(err)
	}
	late := signMessage(2, "k")
	late.Timeout = durationpb.New(50 * time.Millisecond)
	if err := s.Send(late); err != nil {
		t.Fatal(err)
	}
	first, err := s.Recv()
	if err != nil || first.GetSign() == nil {
		t.Fatal(first, err)
	}
	second, err := s.Recv()
	if err != nil || codes.Code(second.GetError().GetCode()) != codes.DeadlineExceeded {
		t.Fatal(second, err)
	}
	if info := errorInfo(t, signer.AsError(second.GetError())); info.GetMetadata()["disposition"] != "not_sent" {
		t.Errorf("it was sent although its time was over: %v", info)
	}
}

func TestLostConnectionsAreNotNoticedOnAStream(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	s := openStream(t, r)
	ask(t, s, createMessage(0, "k", edAlg))
	for i := range uint64(3) { // more in a row would meet the backoff of connections that never live long
		r.enclaves["a"].DropConns(0)
		if res := ask(t, s, signMessage(i, "k")); res.GetSign() == nil {
			t.Fatalf("exchange %d: %v", i, res.GetError())
		}
	}
}

func TestResetStreamsAreRepeatedWithinTheBudgetOnly(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	s := openStream(t, r)
	ask(t, s, createMessage(0, "k", edAlg))
	if err := r.enclaves["a"].SetFaults(enclave.Faults{ResetFraction: 1}); err != nil {
		t.Fatal(err)
	}
	before := r.enclaves["a"].Stats().Exchanges
	const n = 100
	for i := range uint64(n) {
		if got := ask(t, s, signMessage(i, "k")).GetError(); codes.Code(got.GetCode()) != codes.Unavailable {
			t.Fatalf("exchange %d: %v", i, got)
		}
	}
	if attempts := r.enclaves["a"].Stats().Exchanges - before; attempts != n+budgetTokens/2-1 {
		t.Errorf("%d attempts for %d exchanges", attempts, n)
	}
}

func TestIdleClientHoldsNoStreamToTheEnclave(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	s := openStream(t, r)
	ask(t, s, createMessage(1, "k", edAlg))
	inFlight := func() int { return r.gateway.pool.Stats().Enclaves["a"].InFlight }
	if inFlight() != 1 {
		t.Errorf("%d slots taken by one stream in use", inFlight())
	}
	eventually(t, "the idle stream is closed", func() bool { return inFlight() == 0 })
	if ask(t, s, signMessage(2, "k")).GetSign() == nil {
		t.Error("no signature after the pause")
	}
	if got := r.streams("a"); got != 2 {
		t.Errorf("%d streams to the enclave, want 2", got)
	}
}

func TestCancelledClientFreesItsSlots(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	r.create(t, "k", edAlg)
	if err := r.enclaves["a"].SetFaults(enclave.Faults{StallFraction: 1}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(limited(t))
	s, err := r.signer.SignStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(signMessage(1, "k")); err != nil {
		t.Fatal(err)
	}
	inFlight := func() int { return r.gateway.pool.Stats().Enclaves["a"].InFlight }
	eventually(t, "the exchange is in flight", func() bool { return inFlight() == 1 })
	cancel()
	if _, err := s.Recv(); status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	eventually(t, "its slot is free", func() bool { return inFlight() == 0 })
}
