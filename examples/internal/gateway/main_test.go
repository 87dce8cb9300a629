package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what takes milliseconds when it works.
const patience = 10 * time.Second

var digest = bytes.Repeat([]byte{0xa5}, 32)

// limited is a context that ends before a hanging test becomes a nuisance.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// startEnclave serves an enclave on a Unix socket until the test ends.
func startEnclave(t *testing.T, target string, o enclave.Options) *enclave.Server {
	t.Helper()
	s, err := enclave.New(o)
	if err != nil {
		t.Fatal(err)
	}
	lis, err := enclave.Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; err != nil {
			t.Errorf("enclave: %v", err)
		}
	})
	return s
}

// rig is a gateway with its enclaves and its clients.
type rig struct {
	gateway  *Gateway
	enclaves map[string]*enclave.Server
	targets  map[string]string
	signer   signerv1.SignerServiceClient
	conn     *grpc.ClientConn
	web      *http.Client
	// where it listens
	grpcPath, httpPath string
	// shutdown stops the gateway, once, within ctx.
	shutdown func(ctx context.Context) error
}

// inBothTransports runs a test in each.
func inBothTransports(t *testing.T, test func(t *testing.T, transport Transport)) {
	for _, transport := range []Transport{Stream, Unary} {
		t.Run(string(transport), func(t *testing.T) { test(t, transport) })
	}
}

// by is a setting of start's.
func by(transport Transport) func(*Config) {
	return func(c *Config) { c.Transport = transport }
}

// start runs enclaves with the IDs, and a gateway in front of them whose pool is small. Nobody waits for the
// connections: calls do that.
func start(t *testing.T, o enclave.Options, tune func(*Config), ids ...string) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{enclaves: map[string]*enclave.Server{}, targets: map[string]string{}}
	cfg := Config{Pool: pool.DefaultConfig(), Logger: slog.New(slog.DiscardHandler)}
	cfg.Pool.MinConns, cfg.Pool.MaxConns = 2, 2
	for _, id := range ids {
		r.targets[id] = "unix:" + filepath.Join(dir, id+".sock")
		r.enclaves[id] = startEnclave(t, r.targets[id], o)
		cfg.Pool.Enclaves = append(cfg.Pool.Enclaves, pool.Enclave{ID: id, Target: r.targets[id]})
	}
	if tune != nil {
		tune(&cfg)
	}
	var err error
	if r.gateway, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	r.serve(t, dir)
	return r
}

func (r *rig) serve(t *testing.T, dir string) {
	t.Helper()
	grpcPath, httpPath := filepath.Join(dir, "grpc"), filepath.Join(dir, "http")
	r.grpcPath, r.httpPath = grpcPath, httpPath
	grpcListener, err := Listen("unix:" + grpcPath)
	if err != nil {
		t.Fatal(err)
	}
	httpListener, err := Listen("unix:" + httpPath)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.gateway.Serve(grpcListener, httpListener) }()
	stopped := false
	r.shutdown = func(ctx context.Context) error {
		if stopped {
			return nil
		}
		stopped = true
		err := r.gateway.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		return err
	}
	t.Cleanup(func() {
		if err := r.shutdown(limited(t)); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})

	if r.conn, err = grpc.NewClient("unix:"+grpcPath, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.conn.Close() })
	r.signer = signerv1.NewSignerServiceClient(r.conn)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", httpPath)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	r.web = &http.Client{Transport: transport}
}

// owner is the enclave that a key belongs to.
func (r *rig) owner(keyID string) string {
	return ownerOf(context.Background(), r.gateway.pool.View(), keyID)
}

// busy is how many requests are on their way to an enclave. An idle warm stream is none.
func (r *rig) busy(enclaveID string) int {
	if w, ok := r.gateway.backend.carrier.(*warm); ok {
		return w.streams.Stats()[enclaveID].Busy
	}
	return r.gateway.pool.Stats().Enclaves[enclaveID].InFlight
}

// keyAt is a name that leads to the enclave.
func (r *rig) keyAt(t *testing.T, enclaveID string) string {
	t.Helper()
	for i := range 1000 {
		if name := fmt.Sprintf("key-%d", i); r.owner(name) == enclaveID {
			return name
		}
	}
	t.Fatalf("no key leads to %s", enclaveID)
	return ""
}

// create makes a key that has the name, "" for any, over gRPC.
func (r *rig) create(t *testing.T, keyID string, a signerv1.Algorithm) *signerv1.CreateResponse {
	t.Helper()
	res, err := r.signer.Create(limited(t), &signerv1.CreateRequest{KeyId: keyID, Algorithm: a})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// get requests a page, and returns its status and body.
func (r *rig) get(t *testing.T, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(limited(t), http.MethodGet, "http://gateway"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := r.web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}
