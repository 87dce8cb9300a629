package enclave

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

const (
	ecdsaAlg = signerv1.Algorithm_ALGORITHM_ECDSA_SECP256K1
	edAlg    = signerv1.Algorithm_ALGORITHM_ED25519
)

var digest = func() []byte { d := sha256.Sum256([]byte("a message")); return d[:] }()

func create(t *testing.T, c signerv1.SignerServiceClient, id string, alg signerv1.Algorithm) *signerv1.CreateResponse {
	t.Helper()
	k, err := c.Create(limited(t), &signerv1.CreateRequest{KeyId: id, Algorithm: alg})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSignaturesOfBothAlgorithmsVerify(t *testing.T) {
	_, address := start(t, Options{})
	c := client(t, address)
	for _, alg := range []signerv1.Algorithm{ecdsaAlg, edAlg} {
		k := create(t, c, "", alg)
		if k.GetKeyId() == "" || k.GetAlgorithm() != alg {
			t.Errorf("created %v", k)
		}
		res, err := c.Sign(limited(t), &signerv1.SignRequest{KeyId: k.GetKeyId(), Digest: digest})
		if err != nil {
			t.Fatal(err)
		}
		if err := signer.Verify(res.GetAlgorithm(), k.GetPublicKey(), digest, res.GetSignature()); err != nil {
			t.Errorf("%v: %v", alg, err)
		}
	}
}

func TestCreateIsIdempotentForTheSameIDAndAlgorithm(t *testing.T) {
	s, address := start(t, Options{})
	c := client(t, address)
	first := create(t, c, "k", signerv1.Algorithm_ALGORITHM_UNSPECIFIED)
	if first.GetAlgorithm() != ecdsaAlg {
		t.Errorf("unspecified became %v", first.GetAlgorithm())
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			again, err := c.Create(limited(t), &signerv1.CreateRequest{KeyId: "k", Algorithm: ecdsaAlg})
			if err != nil || !bytes.Equal(first.GetPublicKey(), again.GetPublicKey()) {
				t.Errorf("the same request gave another key (%v)", err)
			}
		})
	}
	wg.Wait()
	if _, err := c.Create(limited(t), &signerv1.CreateRequest{KeyId: "k", Algorithm: edAlg}); status.Code(err) != codes.AlreadyExists {
		t.Errorf("other algorithm: %v", err)
	}
	if n := s.Stats().Keys; n != 1 {
		t.Errorf("%d keys, want 1", n)
	}
}

func TestBadRequestsAreRefusedWithTheCodeThatFits(t *testing.T) {
	_, address := start(t, Options{})
	c := client(t, address)
	create(t, c, "k", edAlg)
	sign := func(id string, d []byte) error {
		_, err := c.Sign(limited(t), &signerv1.SignRequest{KeyId: id, Digest: d})
		return err
	}
	for name, call := range map[string]struct {
		err  error
		want codes.Code
	}{
		"unknown key":  {sign("other", digest), codes.NotFound},
		"short digest": {sign("k", digest[:31]), codes.InvalidArgument},
		"long digest":  {sign("k", append(digest[:32:32], 0)), codes.InvalidArgument},
		"algorithm": {func() error {
			_, err := c.Create(limited(t), &signerv1.CreateRequest{Algorithm: 99})
			return err
		}(), codes.InvalidArgument},
		"key id": {func() error {
			_, err := c.Create(limited(t), &signerv1.CreateRequest{KeyId: strings.Repeat("x", signer.MaxKeyIDSize+1)})
			return err
		}(), codes.InvalidArgument},
	} {
		if status.Code(call.err) != call.want {
			t.Errorf("%s: %v, want %v", name, call.err, call.want)
		}
	}
}

func TestEchoModeAnswersWithTheDigest(t *testing.T) {
	_, address := start(t, Options{Sign: SignEcho})
	c := client(t, address)
	create(t, c, "k", ecdsaAlg)
	res, err := c.Sign(limited(t), &signerv1.SignRequest{KeyId: "k", Digest: digest})
	if err != nil || !bytes.Equal(res.GetSignature(), digest) {
		t.Errorf("got %v, %v", res, err)
	}
}

// ask sends one message on the stream and returns its answer.
func ask(t *testing.T, st signerv1.SignerService_SignStreamClient, req *signerv1.SignStreamRequest) *signerv1.SignStreamResponse {
	t.Helper()
	if err := st.Send(req); err != nil {
		t.Fatal(err)
	}
	res, err := st.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if res.GetId() != req.GetId() {
		t.Fatalf("answer to %d, want %d", res.GetId(), req.GetId())
	}
	return res
}

func signMessage(id uint64, key string) *signerv1.SignStreamRequest {
	return &signerv1.SignStreamRequest{Id: id, Request: &signerv1.SignStreamRequest_Sign{
		Sign: &signerv1.SignRequest{KeyId: key, Digest: digest}}}
}

func openStream(t *testing.T, c signerv1.SignerServiceClient) signerv1.SignerService_SignStreamClient {
	t.Helper()
	st, err := c.SignStream(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestSignStreamGoesOnAfterAnErrorAnswer(t *testing.T) {
	_, address := start(t, Options{})
	st := openStream(t, client(t, address))
	created := ask(t, st, &signerv1.SignStreamRequest{Id: 1, Request: &signerv1.SignStreamRequest_Create{
		Create: &signerv1.CreateRequest{KeyId: "k", Algorithm: edAlg}}}).GetCreate()
	if created == nil {
		t.Fatal("no key")
	}
	for name, c := range map[string]struct {
		req  *signerv1.SignStreamRequest
		want codes.Code
	}{
		"unknown key": {signMessage(2, "other"), codes.NotFound},
		"nothing":     {&signerv1.SignStreamRequest{Id: 3}, codes.InvalidArgument},
		"bad timeout": {func() *signerv1.SignStreamRequest {
			m := signMessage(4, "k")
			m.Timeout = &durationpb.Duration{Seconds: 1, Nanos: -1}
			return m
		}(), codes.InvalidArgument},
		"time is over": {func() *signerv1.SignStreamRequest {
			m := signMessage(5, "k")
			m.Timeout = durationpb.New(0)
			return m
		}(), codes.DeadlineExceeded},
	} {
		if got := ask(t, st, c.req).GetError().GetCode(); got != int32(c.want) {
			t.Errorf("%s: code %d, want %d", name, got, c.want)
		}
	}
	m := signMessage(6, "k")
	m.Timeout = durationpb.New(patience)
	sig := ask(t, st, m).GetSign()
	if err := signer.Verify(edAlg, created.GetPublicKey(), digest, sig.GetSignature()); err != nil {
		t.Error(err)
	}
	if err := st.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after half-close: %v", err)
	}
}

func TestSignStreamAnswersInTheOrderOfTheRequests(t *testing.T) {
	_, address := start(t, Options{})
	c := client(t, address)
	create(t, c, "k", edAlg)
	st := openStream(t, c)
	const n = 50
	for id := range uint64(n) {
		if err := st.Send(signMessage(id, "k")); err != nil {
			t.Fatal(err)
		}
	}
	for id := range uint64(n) {
		res, err := st.Recv()
		if err != nil || res.GetId() != id || res.GetSign() == nil {
			t.Fatalf("answer %d: %v, %v", id, res, err)
		}
	}
}

func TestStopWaitsForCallsInFlightAndCutsThemWhenTimeIsUp(t *testing.T) {
	s, address := start(t, Options{})
	c := client(t, address)
	create(t, c, "k", edAlg)
	st := openStream(t, c)
	ask(t, st, signMessage(1, "k"))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stream was open, and Stop said %v", err)
	}
	if _, err := st.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}

	s, address = start(t, Options{})
	create(t, client(t, address), "k", edAlg)
	if err := s.Stop(limited(t)); err != nil {
		t.Errorf("nothing was in flight, and Stop said %v", err)
	}
}
