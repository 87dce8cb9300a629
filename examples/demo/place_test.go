package main

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// service is a connection to a signer that answers from the names of keys.
type service struct {
	grpc.ClientConnInterface
	err error
}

func (s service) Invoke(_ context.Context, _ string, args, reply any, _ ...grpc.CallOption) error {
	switch req := args.(type) {
	case *signerv1.CreateRequest:
		reply.(*signerv1.CreateResponse).KeyId = req.GetKeyId()
		reply.(*signerv1.CreateResponse).PublicKey = []byte("public of " + req.GetKeyId())
	case *signerv1.SignRequest:
		reply.(*signerv1.SignResponse).Signature = []byte(req.GetKeyId())
	}
	return s.err
}

func TestEngineSignsWithTheKeysOfItsEnclaveUnderItsOwnNames(t *testing.T) {
	ctx := context.Background()
	client := signerv1.NewSignerServiceClient(newAimed(service{}, []string{"x", "y"}))
	for i, want := range []string{"x", "y", "x"} {
		id := fmt.Sprint("engine-", i)
		for range 2 { // names stay
			key, err := client.Create(ctx, &signerv1.CreateRequest{KeyId: id})
			if err != nil || key.GetKeyId() != id || string(key.GetPublicKey()) != "public of "+want {
				t.Fatalf("%s: %v, %v", id, key, err)
			}
			res, err := client.Sign(ctx, &signerv1.SignRequest{KeyId: id})
			if err != nil || string(res.GetSignature()) != want {
				t.Fatalf("%s: %v, %v", id, res, err)
			}
		}
	}
}

func TestFailuresAreCountedUnlessARetryMayHelp(t *testing.T) {
	with := func(retryable string) error {
		st, err := status.New(codes.Unavailable, "away").WithDetails(&errdetails.ErrorInfo{Metadata: map[string]string{"retryable": retryable}})
		if err != nil {
			t.Fatal(err)
		}
		return st.Err()
	}
	for i, c := range []struct {
		err  error
		want uint64
	}{{nil, 0}, {with("true"), 0}, {with("false"), 1}, {status.Error(codes.Unavailable, "no details"), 1}} {
		a := newAimed(service{err: c.err}, []string{"x"})
		_, err := signerv1.NewSignerServiceClient(a).Sign(context.Background(), &signerv1.SignRequest{KeyId: "k"})
		if (err != nil) != (c.err != nil) || a.final.Load() != c.want {
			t.Errorf("%d: %v, counted %d", i, err, a.final.Load())
		}
	}
}
