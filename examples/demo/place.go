package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// keysEach is the number of keys that are used in each enclave.
const keysEach = 4

// mostTried bounds the search for keys of every enclave; with three, a hundred are far more than it takes.
const mostTried = 1000

// place finds names of keys that the gateway leads to each of the enclaves, by creating keys and asking, over HTTP,
// which enclave signs with them.
func place(ctx context.Context, g *stack.Gateway, enclaves []string) (map[string][]string, error) {
	names := make(map[string][]string)
	digest := fmt.Sprintf("%064x", 1)
	missing := len(enclaves) * (keysEach + 1) // one more, for the watch
	for i := 0; missing > 0; i++ {
		if i == mostTried {
			return nil, fmt.Errorf("of %d keys too few belong to one of the enclaves: %v", mostTried, names)
		}
		name := fmt.Sprintf("demo-%d", i)
		if err := g.Post(ctx, "/v1/keys", map[string]string{"key_id": name}, new(struct{})); err != nil {
			return nil, err
		}
		var signed struct {
			EnclaveID string `json:"enclave_id"`
		}
		if err := g.Post(ctx, "/v1/sign", map[string]string{"key_id": name, "digest": digest}, &signed); err != nil {
			return nil, err
		}
		if len(names[signed.EnclaveID]) <= keysEach {
			names[signed.EnclaveID] = append(names[signed.EnclaveID], name)
			missing--
		}
	}
	return names, nil
}

// aimed is a connection on which the load engine, whose keys have names of its own, uses keys of one enclave: the
// first key it creates stands for the first of the names, and so on.
type aimed struct {
	grpc.ClientConnInterface
	names []string

	final atomic.Uint64 // calls that failed without the gateway's word that a retry may help

	mu   sync.Mutex
	name map[string]string // by the engine's
}

func newAimed(conn grpc.ClientConnInterface, names []string) *aimed {
	return &aimed{ClientConnInterface: conn, names: names, name: make(map[string]string)}
}

// Invoke implements grpc.ClientConnInterface.
func (a *aimed) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	switch req := args.(type) {
	case *signerv1.CreateRequest:
		err := a.ClientConnInterface.Invoke(ctx, method,
			&signerv1.CreateRequest{KeyId: a.of(req.GetKeyId()), Algorithm: req.GetAlgorithm()}, reply, opts...)
		if res, ok := reply.(*signerv1.CreateResponse); ok && err == nil {
			res.KeyId = req.GetKeyId()
		}
		return err
	case *signerv1.SignRequest:
		args = &signerv1.SignRequest{KeyId: a.of(req.GetKeyId()), Digest: req.GetDigest()}
	}
	err := a.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	if err != nil && !retryable(err) {
		a.final.Add(1)
	}
	return err
}

// retryable reports whether the gateway says that the same call may succeed when it is made again.
func retryable(err error) bool {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetMetadata()["retryable"] == "true"
		}
	}
	return false
}

// of is the name that stands for the engine's.
func (a *aimed) of(id string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	name, ok := a.name[id]
	if !ok {
		name = a.names[len(a.name)%len(a.names)]
		a.name[id] = name
	}
	return name
}
