package gateway

import (
	"context"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

const (
	ecdsaAlg = signerv1.Algorithm_ALGORITHM_ECDSA_SECP256K1
	edAlg    = signerv1.Algorithm_ALGORITHM_ED25519
)

func TestCreateAndSignMeetAtTheSameEnclave(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a", "b", "c")
		if err := r.gateway.pool.Ready(limited(t)); err != nil { // new keys go to enclaves that are there
			t.Fatal(err)
		}
		for range 30 {
			key := r.create(t, "", edAlg)
			res, err := r.signer.Sign(limited(t), &signerv1.SignRequest{KeyId: key.GetKeyId(), Digest: digest})
			if err != nil {
				t.Fatal(err)
			}
			if err := signer.Verify(edAlg, key.GetPublicKey(), digest, res.GetSignature()); err != nil {
				t.Fatal(err)
			}
		}
		for id, e := range r.enclaves {
			if e.Stats().Keys == 0 {
				t.Errorf("enclave %s got none of 30 keys", id)
			}
		}
	})
}

func TestSignPassesOnWhatTheEnclaveAnswers(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a")
		r.create(t, "k", ecdsaAlg)
		for _, c := range []struct {
			req  *signerv1.SignRequest
			want codes.Code
		}{
			{&signerv1.SignRequest{KeyId: "other", Digest: digest}, codes.NotFound},
			{&signerv1.SignRequest{KeyId: "k", Digest: digest[1:]}, codes.InvalidArgument},
		} {
			_, err := r.signer.Sign(limited(t), c.req)
			info := errorInfo(t, err)
			if status.Code(err) != c.want || info.GetDomain() != "enclavepool" || info.GetReason() != codeName(c.want) {
				t.Errorf("%v, %v, want %v", err, info, c.want)
			}
			if m := info.GetMetadata(); m["disposition"] != "processed" || m["retryable"] != "false" || m["enclave_id"] != "a" {
				t.Errorf("metadata %v", m)
			}
		}
		if _, err := r.signer.Create(limited(t), &signerv1.CreateRequest{KeyId: "k", Algorithm: edAlg}); status.Code(err) != codes.AlreadyExists {
			t.Errorf("the same name with another algorithm: %v", err)
		}
	})
}

// errorInfo is the google.rpc.ErrorInfo of an error.
func errorInfo(t *testing.T, err error) *errdetails.ErrorInfo {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	t.Errorf("no ErrorInfo in %v", err)
	return nil
}

// timeouts notes those of the requests to sign that come on a stream; -1: there is none.
type timeouts struct {
	grpc.ServerStream
	seen chan<- time.Duration
}

func (s timeouts) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if req, ok := m.(*signerv1.SignStreamRequest); ok && err == nil && req.GetSign() != nil {
		left := time.Duration(-1)
		if req.GetTimeout() != nil {
			left = req.GetTimeout().AsDuration()
		}
		s.seen <- left
	}
	return err
}

func TestDeadlineOfACallTravelsToTheEnclave(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		seen := make(chan time.Duration, 10)
		watchStream := func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return handle(srv, timeouts{s, seen})
		}
		watch := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if info.FullMethod == signerv1.SignerService_Sign_FullMethodName {
				d, ok := ctx.Deadline()
				if !ok {
					t.Error("no deadline")
				}
				seen <- time.Until(d)
			}
			return handle(ctx, req)
		}
		r := start(t, enclave.Options{ServerOptions: []grpc.ServerOption{grpc.ChainUnaryInterceptor(watch), grpc.ChainStreamInterceptor(watchStream)}},
			by(transport), "a")
		r.create(t, "k", edAlg)
		for _, c := range []struct {
			name  string
			sign  func() error
			limit time.Duration
		}{
			{"gRPC", func() error {
				ctx, cancel := context.WithTimeout(context.Background(), 7*time.Second)
				defer cancel()
				_, err := r.signer.Sign(ctx, &signerv1.SignRequest{KeyId: "k", Digest: digest})
				return err
			}, 7 * time.Second},
			{"gRPC without one", func() error {
				_, err := r.signer.Sign(context.Background(), &signerv1.SignRequest{KeyId: "k", Digest: digest})
				return err
			}, 5 * time.Second},
			{"HTTP", func() error {
				r.post(t, "/v1/sign", signJSON("k"), timeoutHeader, "3s")
				return nil
			}, 3 * time.Second},
			{"HTTP, more than the greatest", func() error {
				r.post(t, "/v1/sign", signJSON("k"), timeoutHeader, "3h")
				return nil
			}, maxRequestTimeout},
		} {
			if err := c.sign(); err != nil {
				t.Fatal(c.name, err)
			}
			if left := <-seen; left > c.limit || left < c.limit-2*time.Second {
				t.Errorf("%s: the enclave saw %v left of %v", c.name, left, c.limit)
			}
		}
	})
}

func TestStalledEnclaveCostsTheDeadlineAndNoMore(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a")
		r.create(t, "k", edAlg)
		if err := r.enclaves["a"].SetFaults(enclave.Faults{StallFraction: 1}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := r.signer.Sign(ctx, &signerv1.SignRequest{KeyId: "k", Digest: digest}); status.Code(err) != codes.DeadlineExceeded {
			t.Error(err)
		}
		began := time.Now()
		code, _, body := r.post(t, "/v1/sign", signJSON("k"), timeoutHeader, "50ms")
		if code != 504 || body.Error.Code != "DEADLINE_EXCEEDED" || body.Error.Disposition != "unknown" || !body.Error.Retryable {
			t.Errorf("%d %+v", code, body.Error)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestLostConnectionsAreNotNoticedByCallers(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a")
		r.create(t, "k", edAlg)
		for range 20 {
			r.enclaves["a"].DropConns(0)
			if _, err := r.signer.Sign(limited(t), &signerv1.SignRequest{KeyId: "k", Digest: digest}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// asked is how many requests to sign and to create have come to the enclave, on whatever way.
func (r *rig) asked(id string) uint64 {
	s := r.enclaves[id].Stats()
	return s.Exchanges + s.RPCs[signerv1.SignerService_Sign_FullMethodName] + s.RPCs[signerv1.SignerService_Create_FullMethodName]
}

func TestUnavailableAnswersAreRepeatedTwice(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a")
		r.create(t, "k", edAlg)
		if err := r.enclaves["a"].SetFaults(enclave.Faults{RefuseFraction: 1}); err != nil {
			t.Fatal(err)
		}
		before := r.asked("a")
		_, err := r.signer.Sign(limited(t), &signerv1.SignRequest{KeyId: "k", Digest: digest})
		if info := errorInfo(t, err); status.Code(err) != codes.Unavailable || info.GetMetadata()["disposition"] != "processed" || info.GetMetadata()["retryable"] != "true" {
			t.Errorf("%v, %v", err, info)
		}
		if got := r.asked("a") - before; got != 3 {
			t.Errorf("the enclave was asked %d times, want 3", got)
		}
	})
}

func TestOnlyAKeyThatTheCallerNamedMayBeAskedForAgain(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a")
		r.create(t, "k", edAlg)
		if err := r.enclaves["a"].SetFaults(enclave.Faults{StallFraction: 1}); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"": "false", "mine": "true"} {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			s, err := r.signer.SignStream(ctx)
			if err != nil {
				t.Fatal(err)
			}
			m := createMessage(1, name, edAlg)
			m.Timeout = durationpb.New(50 * time.Millisecond)
			got := signer.AsError(ask(t, s, m).GetError())
			if m := errorInfo(t, got).GetMetadata(); m["retryable"] != want || m["disposition"] != "unknown" {
				t.Errorf("named %q: %v", name, m)
			}
		}
	})
}
