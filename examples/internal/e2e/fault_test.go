package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

func TestKilledEnclaveCostsItsOwnCallersOnlyAndComesBack(t *testing.T) {
	const callers = 3
	st := launch(t, 2, stack.Conns)
	a := st.Enclaves[0]
	c := dial(t, st)
	keyA, keyB := keyOn(t, st, c, "a"), keyOn(t, st, c, "b")
	onA, onB := drive(t, c, keyA, callers), drive(t, c, keyB, callers)
	onA.await(t, 20, false)
	onB.await(t, 20, false)
	onA.none(t, "a, before it was killed")
	before, err := st.Enclaves[1].Stats(limited(t))
	if err != nil {
		t.Fatal(err)
	}

	killed := time.Now()
	a.Kill()
	awaitConns(t, st, "a", 0)
	onA.await(t, 10, true)
	onA.stop()
	inFlight := 0
	for _, f := range onA.failedCalls() {
		if f.begun.Before(killed) {
			inFlight++
		}
		if status.Code(f.err) != codes.Unavailable {
			t.Errorf("a call to the killed enclave failed with %v", f.err)
		}
	}
	if inFlight > callers {
		t.Errorf("%d calls begun before the kill failed, and only %d can have been in flight", inFlight, callers)
	}

	if err := a.Start(limited(t)); err != nil {
		t.Fatal(err)
	}
	again := create(t, c, keyA.GetKeyId()) // keys are gone with the process
	backOnA := drive(t, c, again, callers)
	backOnA.await(t, 20, false)
	backOnA.stop()
	backOnA.none(t, "a, after its restart")
	awaitConns(t, st, "a", stack.Conns)

	onB.await(t, 20, false)
	onB.stop()
	onB.none(t, "b, which nothing happened to")
	after, err := st.Enclaves[1].Stats(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	switch stayed := after.ConnectionsAccepted == before.ConnectionsAccepted; {
	case !stayed && starved(onB.slowest):
		t.Logf("the slowest call to b took %v, so its connections could not be expected to stay", onB.slowest)
		awaitConns(t, st, "b", stack.Conns)
	case !stayed || after.ConnectionsOpen != before.ConnectionsOpen:
		t.Errorf("b's connections did not stay: %+v, %+v", before, after)
	}
}

func TestGatewayFinishesWhatIsInFlightWhenItIsToldToStop(t *testing.T) {
	inBothTransports(t, func(t *testing.T, args []string) {
		const each = 3
		st := launchWith(t, stack.Config{Enclaves: names(1), Conns: fewConns, GatewayArgs: args})
		c := dial(t, st)
		key := create(t, c, "k")
		// Long enough to find all calls in flight, and shorter than the time the gateway waits for them.
		if err := st.Enclaves[0].SetFaults(limited(t), `{"delay":"3s"}`); err != nil {
			t.Fatal(err)
		}
		ctx := limited(t)
		calls := map[string]func() error{
			"unary": func() error { return sign(ctx, c, key, digest(1)) },
			"stream": func() error {
				s, err := c.SignStream(ctx)
				if err != nil {
					return err
				}
				if err := s.Send(&signerv1.SignStreamRequest{Id: 1, Request: &signerv1.SignStreamRequest_Sign{
					Sign: &signerv1.SignRequest{KeyId: "k", Digest: digest(2)}}}); err != nil {
					return err
				}
				res, err := s.Recv()
				if err != nil {
					return err
				}
				return signer.Verify(key.GetAlgorithm(), key.GetPublicKey(), digest(2), res.GetSign().GetSignature())
			},
			"HTTP": func() error {
				var sig signatureJSON
				if err := st.Gateway.Post(ctx, "/v1/sign", map[string]string{"key_id": "k", "digest": fmt.Sprintf("%x", digest(3))}, &sig); err != nil {
					return err
				}
				return signer.Verify(key.GetAlgorithm(), key.GetPublicKey(), digest(3), sig.Signature)
			},
		}
		type outcome struct {
			kind string
			err  error
		}
		outcomes := make(chan outcome, len(calls)*each)
		begun, err := st.Enclaves[0].Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		before := asked(begun)
		for kind, call := range calls {
			for range each {
				go func() { outcomes <- outcome{kind, call()} }()
			}
		}
		eventually(t, "calls in flight", func(ctx context.Context) error {
			stats, err := st.Enclaves[0].Stats(ctx)
			if n := asked(stats) - before; err == nil && n < uint64(cap(outcomes)) {
				return fmt.Errorf("%d of %d calls", n, cap(outcomes))
			}
			return err
		})

		if err := st.Gateway.Stop(limited(t)); err != nil {
			t.Errorf("the gateway: %v", err)
		}
		for range cap(outcomes) {
			if o := <-outcomes; o.err != nil {
				t.Errorf("%s, which was in flight: %v", o.kind, o.err)
			}
		}
		if err := sign(ctx, c, key, digest(4)); status.Code(err) != codes.Unavailable {
			t.Errorf("a call after the end: %v", err)
		}
	})
}

func TestFaultsAreSwitchedWhileTheEnclaveRuns(t *testing.T) {
	inBothTransports(t, func(t *testing.T, args []string) { switchFaults(t, args) })
}

func switchFaults(t *testing.T, args []string) {
	// Dropped at a time are fewer connections than a request has attempts, the others stay, and none is
	// ejected because its machine is slow: so neither can a request meet nothing but connections that are being dropped,
	// nor can all connections be lost at once, whatever the machine. And so few are dropped that the budget for repeated
	// requests lasts though every caller meets them all.
	const n, rounds, conns, atATime, callers = 5, 6, 8, 2, 3
	st := launchWith(t, stack.Config{Enclaves: names(1), Conns: conns, GatewayArgs: args,
		GatewayEnv: []string{"SIGN_CONN_POOL_HEALTH_TIMEOUT=30s"}})
	e := st.Enclaves[0]
	c := dial(t, st)
	key := create(t, c, "k")
	faults := func(t *testing.T, patch string) {
		t.Helper()
		if err := e.SetFaults(limited(t), patch); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("refused calls", func(t *testing.T) {
		faults(t, `{"refuse_fraction":1,"refuse_code":"RESOURCE_EXHAUSTED"}`)
		if err := sign(limited(t), c, key, digest(1)); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("refused: %v", err)
		}
		faults(t, `{"refuse_fraction":0}`)
		if err := sign(limited(t), c, key, digest(1)); err != nil {
			t.Error(err)
		}
	})
	t.Run("reset streams are counted exactly", func(t *testing.T) {
		before, err := e.Stats(limited(t))
		if err != nil {
			t.Fatal(err)
		}
		counted := internalErrors(t, st)
		// A message whose stream is reset is sent three times, and then its caller may try again. A unary call is not.
		attempts, code := 3, codes.Unavailable
		if slices.Contains(args, "unary") {
			attempts, code = 1, codes.Internal
		}
		faults(t, `{"reset_fraction":1,"reset_code":"INTERNAL_ERROR"}`)
		var slowest time.Duration
		for range n {
			began := time.Now()
			if err := sign(limited(t), c, key, digest(1)); status.Code(err) != code {
				t.Errorf("reset: %v", err)
			}
			slowest = max(slowest, time.Since(began))
		}
		faults(t, `{"reset_fraction":0}`)
		if err := sign(limited(t), c, key, digest(1)); err != nil {
			t.Error(err)
		}
		after, err := e.Stats(limited(t))
		if err != nil {
			t.Fatal(err)
		}
		if after.StreamsReset-before.StreamsReset != uint64(n*attempts) {
			t.Errorf("the enclave: %+v, then %+v", before, after)
		}
		if after.ConnectionsAccepted != before.ConnectionsAccepted && !starved(slowest) {
			t.Errorf("resets cost connections: %+v, then %+v", before, after)
		}
		if got := internalErrors(t, st) - counted; got != float64(n*attempts) {
			t.Errorf("grpc_stream_resets_total grew by %v, want %d", got, n*attempts)
		}
	})
	t.Run("dropped connections are replaced and no call notices", func(t *testing.T) {
		tr := drive(t, c, key, callers)
		for range rounds {
			tr.await(t, 10, false)
			before, err := e.Stats(limited(t))
			if err != nil {
				t.Fatal(err)
			}
			if dropped, err := e.Drop(limited(t), atATime); dropped != atATime || err != nil {
				t.Fatalf("dropped %d: %v", dropped, err)
			}
			eventually(t, "replacement", func(ctx context.Context) error {
				stats, err := e.Stats(ctx)
				if err == nil && (stats.ConnectionsAccepted < before.ConnectionsAccepted+atATime || stats.ConnectionsOpen != conns) {
					return fmt.Errorf("%+v", stats)
				}
				return err
			})
			awaitConns(t, st, "a", conns)
		}
		tr.stop()
		tr.none(t, "connections were dropped")
	})
	t.Run("an enclave that says NOT_SERVING gets no connections", func(t *testing.T) {
		faults(t, `{"not_serving":true}`)
		if _, err := e.Drop(limited(t), 0); err != nil {
			t.Fatal(err)
		}
		awaitConns(t, st, "a", 0)
		faults(t, `{"not_serving":false}`)
		awaitConns(t, st, "a", conns)
		if err := sign(limited(t), c, key, digest(1)); err != nil {
			t.Error(err)
		}
	})
	t.Run("an unknown fault changes nothing and is named", func(t *testing.T) {
		if err := e.SetFaults(limited(t), `{"delay":"9s","reset":1}`); err == nil {
			t.Error("no error")
		}
		if err := sign(limited(t), c, key, digest(1)); err != nil {
			t.Error(err)
		}
	})
}

// internalErrors is the gateway's count of streams of enclave a that were reset with INTERNAL_ERROR. Those that the gateway
// gives up itself, such as a health probe that took too long, have other codes.
func internalErrors(t *testing.T, st *stack.Stack) float64 {
	t.Helper()
	m, err := st.Gateway.Metrics(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range m {
		if s.Name == "grpc_stream_resets_total" && s.Labels["enclave_id"] == "a" && s.Labels["code"] == "INTERNAL_ERROR" {
			return s.Value
		}
	}
	t.Fatal("no count")
	return 0
}
