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

// warmed waits until the gateway has the streams to an enclave that it keeps open.
func (r *rig) warmed(t *testing.T, id string) {
	t.Helper()
	const kept = 16 // pool.WithMinStreams
	eventually(t, "streams are open", func() bool { return r.streams(id) == kept })
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
	opened := map[string]uint64{}
	for id := range r.enclaves {
		r.warmed(t, id)
		opened[id] = r.streams(id)
	}
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
		if got := r.streams(id); got != opened[id] {
			t.Errorf("%d streams to enclave %s were opened for one stream of a client's", got-opened[id], id)
		}
	}
}

func TestStreamGoesOnAfterAnErrorAnswer(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a", "b")
	down := r.keyAt(t, "b")
	r.create(t, down, edAlg) // both are connected
	r.warmed(t, "a")
	opened := r.streams("a")
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
	if got := r.streams("a"); got != opened {
		t.Errorf("%d streams to the enclave, %d before: an error answer must not cost a stream", got, opened)
	}
}

func TestExchangeThatStallsEndsAtItsTimeoutAndTheStreamGoesOn(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a")
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
	})
}

func TestTimeOfAnExchangeRunsWhileItWaitsForTheOneBefore(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{Faults: enclave.Faults{Delay: 300 * time.Millisecond}}, by(transport), "a")
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
	})
}

func TestLostConnectionsAreNotNoticedOnAStream(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a")
		s := openStream(t, r)
		ask(t, s, createMessage(0, "k", edAlg))
		for i := range uint64(3) { // more in a row would meet the backoff of connections that never live long
			r.enclaves["a"].DropConns(0)
			if res := ask(t, s, signMessage(i, "k")); res.GetSign() == nil {
				t.Fatalf("exchange %d: %v", i, res.GetError())
			}
		}
	})
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

func TestIdleClientsHoldNoStreamsToTheEnclave(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	r.warmed(t, "a")
	opened := r.streams("a")
	var clients []signerv1.SignerService_SignStreamClient
	for i := range uint64(3 * opened) {
		s := openStream(t, r)
		clients = append(clients, s)
		ask(t, s, createMessage(i, "k", edAlg))
	}
	eventually(t, "no stream is in use", func() bool { return r.busy("a") == 0 })
	for i, s := range clients {
		if ask(t, s, signMessage(uint64(i), "k")).GetSign() == nil {
			t.Error("no signature after the pause")
		}
	}
	if got := r.streams("a"); got != opened {
		t.Errorf("%d streams to the enclave for %d clients, %d before them", got, len(clients), opened)
	}
}

func TestCancelledClientFreesItsSlots(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a")
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
		eventually(t, "the exchange is in flight", func() bool { return r.busy("a") == 1 })
		cancel()
		if _, err := s.Recv(); status.Code(err) != codes.Canceled {
			t.Error(err)
		}
		eventually(t, "its slot is free", func() bool { return r.busy("a") == 0 })
	})
}
