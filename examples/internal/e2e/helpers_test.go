package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack/testmain"
	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// patience is for everything that has to happen, on the slowest of machines.
const patience = 30 * time.Second

var programs stack.Programs

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=50 "+os.Getenv("GORACE")) // a program with the race detector takes a second to exit
	os.Exit(testmain.Run(m, &programs, buildArgs, "enclave", "gateway", "loadgen"))
}

// limited is a context that ends with the test, or when patience does.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// transport is AF_VSOCK where that is required, else unix sockets.
func transport() stack.Transport {
	if os.Getenv("ENCLAVEPOOL_VSOCK") == "required" {
		return stack.Vsock
	}
	return stack.Unix
}

// folder is a new folder whose path is short enough for sockets, which t.TempDir's is not always.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// fewConns is how many connections there are to each enclave in tests that are not about their number: all processes
// share the cores, and where those are emulated a connection takes long.
const fewConns = 4

// inBothTransports runs a test with each of the ways in which the gateway sends requests to the enclaves; args are what
// to tell it.
func inBothTransports(t *testing.T, test func(t *testing.T, args []string)) {
	for _, name := range []string{"stream", "unary"} {
		t.Run(name, func(t *testing.T) { test(t, []string{"-transport", name}) })
	}
}

// names are the IDs of n enclaves: a, b, …
func names(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = string(rune('a' + i))
	}
	return ids
}

// launch starts enclaves with the arguments, named a, b, …, and a gateway with that many connections to each. At the end
// of the test what still runs has to stop with exit status 0, which a program that saw a data race does not do.
func launch(t *testing.T, enclaves, conns int, enclaveArgs ...string) *stack.Stack {
	t.Helper()
	return launchWith(t, stack.Config{Enclaves: names(enclaves), Conns: conns, EnclaveArgs: enclaveArgs})
}

func launchWith(t *testing.T, cfg stack.Config) *stack.Stack {
	t.Helper()
	cfg.Programs, cfg.Transport = programs, transport()
	if slices.Contains(cfg.GatewayArgs, "-config") {
		// What a reload does is shown, not health: an enclave that gets no processor for a moment is no less in service.
		cfg.GatewayEnv = append(slices.Clone(cfg.GatewayEnv), "SIGN_CONN_POOL_HEALTH_TIMEOUT=2s")
	}
	if cfg.Dir == "" {
		cfg.Dir = folder(t)
	}
	st, err := stack.Launch(limited(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Stop(limited(t)); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if t.Failed() {
			t.Logf("the gateway said:\n%s", st.Gateway.LogTail(30))
		}
		for _, p := range append([]*stack.Process{st.Gateway.Process}, processes(st)...) {
			if log := p.Log(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic:") {
				t.Errorf("a program said:\n%s", log)
			}
		}
	})
	return st
}

func processes(st *stack.Stack) []*stack.Process {
	var all []*stack.Process
	for _, e := range st.Enclaves {
		all = append(all, e.Process)
	}
	for _, g := range st.Others {
		all = append(all, g.Process)
	}
	return all
}

// dial returns a client of the gateway.
func dial(t *testing.T, st *stack.Stack) signerv1.SignerServiceClient {
	t.Helper()
	cc, err := st.Gateway.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return signerv1.NewSignerServiceClient(cc)
}

// digest is some digest.
func digest(seed byte) []byte {
	d := make([]byte, signer.DigestSize)
	d[0] = seed
	return d
}

// create makes a key and waits for the enclave if need be.
func create(t *testing.T, c signerv1.SignerServiceClient, id string) *signerv1.CreateResponse {
	t.Helper()
	var key *signerv1.CreateResponse
	eventually(t, "creating key "+id, func(ctx context.Context) (err error) {
		key, err = c.Create(ctx, &signerv1.CreateRequest{KeyId: id}, grpc.WaitForReady(true))
		return err
	})
	return key
}

// sign signs and verifies.
func sign(ctx context.Context, c signerv1.SignerServiceClient, key *signerv1.CreateResponse, digest []byte) error {
	res, err := c.Sign(ctx, &signerv1.SignRequest{KeyId: key.GetKeyId(), Digest: digest})
	if err != nil {
		return err
	}
	return signer.Verify(key.GetAlgorithm(), key.GetPublicKey(), digest, res.GetSignature())
}

// keyOn creates a key in the given enclave.
func keyOn(t *testing.T, st *stack.Stack, c signerv1.SignerServiceClient, enclaveID string) *signerv1.CreateResponse {
	t.Helper()
	for i := range 1000 {
		key := create(t, c, fmt.Sprint("key-", i))
		var signed struct {
			EnclaveID string `json:"enclave_id"`
		}
		body := map[string]string{"key_id": key.GetKeyId(), "digest": fmt.Sprintf("%064x", i)}
		if err := st.Gateway.Post(limited(t), "/v1/sign", body, &signed); err != nil {
			t.Fatal(err)
		}
		if signed.EnclaveID == enclaveID {
			return key
		}
	}
	t.Fatalf("no key belongs to enclave %s", enclaveID)
	return nil
}

// eventually calls f until it returns nil.
func eventually(t *testing.T, what string, f func(context.Context) error) {
	t.Helper()
	ctx := limited(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not in time, at last: %v", what, err)
		}
	}
}

// awaitConns waits until the gateway has n connections to the enclave.
func awaitConns(t *testing.T, st *stack.Stack, enclaveID string, n int) {
	t.Helper()
	if err := st.AwaitConns(limited(t), enclaveID, n); err != nil {
		t.Fatal(err)
	}
}

// asked is how many requests have come to an enclave, on whatever way.
func asked(s enclave.Stats) uint64 {
	return s.Exchanges + s.RPCs[signerv1.SignerService_Sign_FullMethodName] + s.RPCs[signerv1.SignerService_Create_FullMethodName]
}

// metric reads one of the gateway's metrics.
func metric(t *testing.T, st *stack.Stack, name, enclaveID string) float64 {
	t.Helper()
	m, err := st.Gateway.Metrics(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	v, ok := m.Of(name, enclaveID)
	if !ok {
		t.Fatalf("no %s of enclave %s", name, enclaveID)
	}
	return v
}
