package gateway

import (
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
)

// confused is an enclave that answers every second request of a stream under another one's id, and those for the key
// "made" as if they had asked for it to be made.
type confused struct {
	signerv1.UnimplementedSignerServiceServer
	wrong atomic.Int64
}

func (c *confused) SignStream(s grpc.BidiStreamingServer[signerv1.SignStreamRequest, signerv1.SignStreamResponse]) error {
	for n := uint64(0); ; n++ {
		req, err := s.Recv()
		if err != nil {
			return err
		}
		id := req.GetId() + n%2
		if id != req.GetId() {
			c.wrong.Add(1)
		}
		res := &signerv1.SignStreamResponse{Id: id, Response: &signerv1.SignStreamResponse_Sign{
			Sign: &signerv1.SignResponse{Signature: []byte(req.GetSign().GetKeyId())}}}
		if req.GetSign().GetKeyId() == "made" {
			res.Response = &signerv1.SignStreamResponse_Create{Create: &signerv1.CreateResponse{KeyId: "made"}}
		}
		if err := s.Send(res); err != nil {
			return err
		}
	}
}

// startConfused is a gateway in front of a confused enclave.
func startConfused(t *testing.T) (*rig, *confused) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	lis, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server, c := grpc.NewServer(), &confused{}
	signerv1.RegisterSignerServiceServer(server, c)
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	t.Cleanup(func() { server.Stop(); <-served })
	r := start(t, enclave.Options{}, func(c *Config) {
		c.Pool.Enclaves = append(c.Pool.Enclaves, pool.Enclave{ID: "confused", Target: "unix:" + path})
	})
	return r, c
}

func TestAnswerUnderAnotherIDIsNeverTakenAndItsStreamNotUsedAgain(t *testing.T) {
	r, c := startConfused(t)
	for range 30 {
		res, err := r.signer.Sign(limited(t), &signerv1.SignRequest{KeyId: "k", Digest: digest})
		if err != nil || string(res.GetSignature()) != "k" {
			t.Fatalf("%v, %v", res, err)
		}
	}
	if stats := r.gateway.backend.carrier.(*warm).streams.Stats()["confused"]; c.wrong.Load() < 10 || stats.Retired != uint64(c.wrong.Load()) {
		t.Errorf("%d wrong answers, %+v", c.wrong.Load(), stats)
	}
}

func TestAnswerOfAnotherKindIsAnError(t *testing.T) {
	r, _ := startConfused(t)
	_, err := r.signer.Sign(limited(t), &signerv1.SignRequest{KeyId: "made", Digest: digest})
	if info := errorInfo(t, err); status.Code(err) != codes.Internal || info.GetMetadata()["enclave_id"] != "confused" {
		t.Errorf("%v, %v", err, info)
	}
}

func TestRequestThatMayHaveBeenProcessedIsNeverCalledUnsent(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	r.create(t, "k", edAlg)
	if err := r.enclaves["a"].SetFaults(enclave.Faults{DropEveryCalls: 1}); err != nil {
		t.Fatal(err)
	}
	unknown := 0
	for range 10 {
		before := r.asked("a")
		_, err := r.signer.Create(limited(t), &signerv1.CreateRequest{})
		if err == nil {
			t.Fatal("no error")
		}
		want := map[string]string{"disposition": "not_sent", "retryable": "true"}
		if r.asked("a") > before {
			unknown++
			want = map[string]string{"disposition": "unknown", "retryable": "false"}
		}
		for name, value := range want {
			if got := errorInfo(t, err).GetMetadata()[name]; got != value {
				t.Errorf("%s is %s, want %s: %v", name, got, value, err)
			}
		}
	}
	if unknown == 0 {
		t.Error("the enclave got none of them")
	}
}
