package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// inFlight waits until n calls are on their way to enclave a.
func (r *rig) inFlight(t *testing.T, n int) {
	t.Helper()
	eventually(t, "calls are in flight", func() bool { return r.busy("a") == n })
}

// begin makes calls of every kind and returns where their outcomes come.
func (r *rig) begin(t *testing.T, s signerv1.SignerService_SignStreamClient) (unary, streamed chan error, web chan int) {
	unary, streamed, web = make(chan error, 1), make(chan error, 1), make(chan int, 1)
	go func() {
		_, err := r.signer.Sign(limited(t), &signerv1.SignRequest{KeyId: "k", Digest: digest})
		unary <- err
	}()
	go func() {
		code, _, _ := r.post(t, "/v1/sign", signJSON("k"))
		web <- code
	}()
	go func() {
		err := s.Send(signMessage(1, "k"))
		if err == nil {
			var res *signerv1.SignStreamResponse
			if res, err = s.Recv(); err == nil && res.GetSign() == nil {
				err = errors.New("no signature")
			}
		}
		streamed <- err
	}()
	r.inFlight(t, 3)
	return unary, streamed, web
}

func TestShutdownFinishesWhatIsInFlight(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a")
		r.create(t, "k", edAlg)
		if err := r.enclaves["a"].SetFaults(enclave.Faults{Delay: time.Second}); err != nil {
			t.Fatal(err)
		}
		s, idle := openStream(t, r), openStream(t, r)
		unary, streamed, web := r.begin(t, s)

		done := make(chan error, 1)
		go func() { done <- r.shutdown(limited(t)) }()
		<-r.gateway.stopping
		if code, got := r.readiness(t); code != 503 || got.Status != "stopping" {
			t.Errorf("/readyz: %d %+v", code, got)
		}
		if code, _, body := r.post(t, "/v1/sign", signJSON("k")); code != 503 || !body.Error.Retryable || body.Error.Disposition != "not_sent" {
			t.Errorf("a new request: %d %+v", code, body.Error)
		}
		if err := <-unary; err != nil {
			t.Errorf("the unary call: %v", err)
		}
		if err := <-streamed; err != nil {
			t.Errorf("the exchange: %v", err)
		}
		if code := <-web; code != 200 {
			t.Errorf("the request: %d", code)
		}
		for _, s := range []signerv1.SignerService_SignStreamClient{s, idle} {
			if _, err := s.Recv(); status.Code(err) != codes.Unavailable || errorInfo(t, err).GetMetadata()["retryable"] != "true" {
				t.Errorf("the stream ended with %v", err)
			}
		}
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if _, err := r.gateway.pool.Acquire(limited(t), "a"); err == nil {
			t.Error("the pool is still open")
		}
	})
}

func TestShutdownCutsWhatDoesNotEndInTime(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a")
		r.create(t, "k", edAlg)
		if err := r.enclaves["a"].SetFaults(enclave.Faults{StallFraction: 1}); err != nil {
			t.Fatal(err)
		}
		unary := make(chan error, 1)
		go func() {
			_, err := r.signer.Sign(limited(t), &signerv1.SignRequest{KeyId: "k", Digest: digest})
			unary <- err
		}()
		r.inFlight(t, 1)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := r.shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
		if err := <-unary; status.Code(err) != codes.Unavailable {
			t.Errorf("the call: %v", err)
		}
	})
}
