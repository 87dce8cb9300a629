package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/internal/target"
)

// keyJSON and signatureJSON are the answers of the JSON API.
type (
	keyJSON struct {
		KeyID     string `json:"key_id"`
		Algorithm string `json:"algorithm"`
		PublicKey []byte `json:"public_key"`
	}
	signatureJSON struct {
		Signature []byte `json:"signature"`
		Algorithm string `json:"algorithm"`
		EnclaveID string `json:"enclave_id"`
	}
)

func TestKeysMadeOverHTTPSignOverHTTP(t *testing.T) {
	st := launch(t, 2, fewConns)
	type post func(path string, body, into any) error
	signs := func(t *testing.T, post post) {
		used := make(map[string]bool)
		for i := range 12 {
			alg := signerv1.Algorithm(1 + i%2)
			name := map[signerv1.Algorithm]string{signerv1.Algorithm_ALGORITHM_ECDSA_SECP256K1: "ECDSA_SECP256K1",
				signerv1.Algorithm_ALGORITHM_ED25519: "ED25519"}[alg]
			var key keyJSON
			if err := post("/v1/keys", map[string]string{"algorithm": name}, &key); err != nil {
				t.Fatal(err)
			}
			d := digest(byte(i))
			var sig signatureJSON
			if err := post("/v1/sign", map[string]string{"key_id": key.KeyID, "digest": fmt.Sprintf("%x", d)}, &sig); err != nil {
				t.Fatal(err)
			}
			if err := signer.Verify(alg, key.PublicKey, d, sig.Signature); err != nil || key.Algorithm != name || sig.Algorithm != name {
				t.Errorf("%+v %+v: %v", key, sig, err)
			}
			used[sig.EnclaveID] = true
		}
		for id := range used {
			if id != "a" && id != "b" {
				t.Errorf("signed by %q", id)
			}
		}
	}
	t.Run("client of Go", func(t *testing.T) {
		signs(t, func(path string, body, into any) error { return st.Gateway.Post(limited(t), path, body, into) })
	})
	t.Run("curl", func(t *testing.T) {
		curl, err := exec.LookPath("curl")
		if err != nil {
			t.Skip("the program curl is not installed here") // the same requests have been made without it
		}
		signs(t, func(path string, body, into any) error {
			text, err := json.Marshal(body)
			if err != nil {
				return err
			}
			out, err := exec.CommandContext(limited(t), curl, "--noproxy", "*", "--fail-with-body", "-sS",
				"-H", "Content-Type: application/json", "-d", string(text), "http://"+st.Gateway.HTTP+path).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return json.Unmarshal(out, into)
		})
	})
}

func TestKeysMadeOverGRPCSignOverGRPCAndOverStreams(t *testing.T) {
	st := launch(t, 2, fewConns)
	c := dial(t, st)
	ctx := limited(t)
	a, b := keyOn(t, st, c, "a"), keyOn(t, st, c, "b")
	for i, key := range []*signerv1.CreateResponse{a, b} {
		if err := sign(ctx, c, key, digest(byte(i))); err != nil {
			t.Error(err)
		}
	}

	stream, err := c.SignStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *signerv1.SignStreamRequest) *signerv1.SignStreamResponse {
		t.Helper()
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		res, err := stream.Recv()
		if err != nil || res.GetId() != req.GetId() {
			t.Fatalf("request %d: %v, %v", req.GetId(), res, err)
		}
		return res
	}
	made := ask(&signerv1.SignStreamRequest{Id: 1, Request: &signerv1.SignStreamRequest_Create{Create: &signerv1.CreateRequest{KeyId: "of-the-stream"}}}).GetCreate()
	for i, key := range []*signerv1.CreateResponse{a, made, b, a, b, made} { // one stream to the gateway, two enclaves
		d := digest(byte(10 + i))
		res := ask(&signerv1.SignStreamRequest{Id: uint64(2 + i), Timeout: durationpb.New(patience),
			Request: &signerv1.SignStreamRequest_Sign{Sign: &signerv1.SignRequest{KeyId: key.GetKeyId(), Digest: d}}})
		if err := signer.Verify(key.GetAlgorithm(), key.GetPublicKey(), d, res.GetSign().GetSignature()); err != nil {
			t.Errorf("exchange %d: %v, %v", i, err, res)
		}
	}
	missing := ask(&signerv1.SignStreamRequest{Id: 99, Request: &signerv1.SignStreamRequest_Sign{Sign: &signerv1.SignRequest{KeyId: "nobody's", Digest: digest(1)}}})
	if got := codes.Code(missing.GetError().GetCode()); got != codes.NotFound {
		t.Errorf("a key that is not there: %v", got)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

// witness is an enclave that signs nothing and notes the deadlines of the calls to it.
type witness struct {
	signerv1.UnimplementedSignerServiceServer
	left chan time.Duration // until the deadline of a call; 0: it has none
}

func (w *witness) Sign(ctx context.Context, _ *signerv1.SignRequest) (*signerv1.SignResponse, error) {
	var left time.Duration
	if at, ok := ctx.Deadline(); ok {
		left = time.Until(at)
	}
	w.left <- left
	<-ctx.Done()
	return nil, status.FromContextError(ctx.Err()).Err()
}

func (w *witness) SignStream(s grpc.BidiStreamingServer[signerv1.SignStreamRequest, signerv1.SignStreamResponse]) error {
	for {
		req, err := s.Recv()
		if err != nil {
			return err
		}
		w.left <- req.GetTimeout().AsDuration()
		select {
		case <-s.Context().Done():
			return status.FromContextError(s.Context().Err()).Err()
		case <-time.After(req.GetTimeout().AsDuration()):
		}
		late := signer.ErrorOf(context.DeadlineExceeded)
		if err := s.Send(&signerv1.SignStreamResponse{Id: req.GetId(), Response: &signerv1.SignStreamResponse_Error{Error: late}}); err != nil {
			return err
		}
	}
}

func TestDeadlineOfTheCallerReachesTheEnclave(t *testing.T) {
	inBothTransports(t, func(t *testing.T, args []string) {
		dir := folder(t)
		address := transport().Address(dir, "witness")
		to, err := target.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		lis, err := to.Listen()
		if err != nil {
			t.Fatal(err)
		}
		w := &witness{left: make(chan time.Duration, 10)}
		server := grpc.NewServer()
		signerv1.RegisterSignerServiceServer(server, w)
		served := make(chan error, 1)
		go func() { served <- server.Serve(lis) }()
		t.Cleanup(func() {
			server.Stop()
			<-served
		})
		st := launchWith(t, stack.Config{Dir: dir, Conns: fewConns, GatewayArgs: append(args, "-routing", "strict", "-enclaves", "witness="+address)})
		awaitConns(t, st, "witness", fewConns)

		const deadline = 2 * time.Second // long enough to get there on a slow machine
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		_, err = dial(t, st).Sign(ctx, &signerv1.SignRequest{KeyId: "k", Digest: digest(1)})
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("the caller got %v", err)
		}
		select {
		case left := <-w.left:
			if left <= 0 || left > deadline {
				t.Errorf("the enclave saw %v left of %v", left, deadline)
			}
		default:
			t.Error("the call never reached the enclave")
		}
	})
}

func TestDeadlineEndsACallToASlowEnclave(t *testing.T) {
	inBothTransports(t, func(t *testing.T, args []string) {
		st := launchWith(t, stack.Config{Enclaves: names(1), Conns: fewConns, GatewayArgs: args})
		c := dial(t, st)
		key := create(t, c, "k")
		if err := st.Enclaves[0].SetFaults(limited(t), `{"delay":"60s"}`); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		if err := sign(ctx, c, key, digest(1)); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("the caller got %v", err)
		}
		if took := time.Since(began); took > patience/2 {
			t.Errorf("after %v", took)
		}
		awaitConns(t, st, "a", fewConns)
	})
}
