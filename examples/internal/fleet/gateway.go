package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// Gateway is a gateway with one process after another, at the same sockets.
type Gateway struct {
	Name string

	program, dir string
	directory    string
	args         []string
	conn         *grpc.ClientConn // outlives the processes
	web          *http.Client

	mu      sync.Mutex
	process *stack.Process // nil: it was killed, or never started
}

func newGateway(program, dir, name, directory string, args []string) (*Gateway, error) {
	g := &Gateway{Name: name, program: program, dir: dir, directory: directory, args: args}
	var err error
	g.conn, err = grpc.NewClient("unix:"+g.socket("grpc"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	g.web = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, // nothing that is stale after a restart
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, _, _ := strings.Cut(address, ":")
			return (&net.Dialer{}).DialContext(ctx, "unix", g.socket(host))
		},
	}}
	return g, err
}

// socket is the path of one of its sockets: grpc, http or debug.
func (g *Gateway) socket(what string) string { return filepath.Join(g.dir, g.Name+"."+what) }

func (g *Gateway) config() string { return g.socket("env") }

// list writes down the enclaves that it is to know. It reads that every second.
func (g *Gateway) list(enclaves []string) error {
	aside := g.config() + ".new"
	if err := os.WriteFile(aside, []byte("SIGNER_ENCLAVES="+strings.Join(enclaves, ",")+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(aside, g.config())
}

// Start starts a process and waits until it takes calls.
func (g *Gateway) Start(ctx context.Context) error {
	p, err := stack.Start(ctx, g.Name, g.program, g.socket("log"), []string{
		"SIGN_CONN_POOL_MIN=2", "SIGN_CONN_POOL_MAX=4", "SIGNER_DIRECTORY=" + g.directory,
	}, append([]string{
		"-listen", "unix:" + g.socket("grpc"), "-http", "unix:" + g.socket("http"), "-debug", "unix:" + g.socket("debug"),
		"-config", g.config(),
	}, g.args...)...)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.process = p
	g.mu.Unlock()
	return nil
}

// Kill ends its process at once, as kill -9 does.
func (g *Gateway) Kill() {
	g.mu.Lock()
	p := g.process
	g.process = nil
	g.mu.Unlock()
	if p != nil {
		p.Kill()
	}
}

// close ends it for good.
func (g *Gateway) close() (err error) {
	g.mu.Lock()
	p := g.process
	g.mu.Unlock()
	if p != nil && !p.Running() {
		err = fmt.Errorf("gateway %s has ended by itself; it said:\n%s", g.Name, p.LogTail(10))
	}
	g.Kill()
	return errors.Join(err, g.conn.Close())
}

// Signer is a client of it.
func (g *Gateway) Signer() signerv1.SignerServiceClient {
	return signerv1.NewSignerServiceClient(g.conn)
}

// Log is what all its processes have written.
func (g *Gateway) Log() string {
	text, err := os.ReadFile(g.socket("log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// ask makes a request, and returns the body of the answer whatever its status is.
func (g *Gateway) ask(ctx context.Context, method, at string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+at, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := g.web.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// Operate has it drain an enclave, or resume, cordon or uncordon it.
func (g *Gateway) Operate(ctx context.Context, enclaveID, action string) error {
	q := url.Values{"id": {enclaveID}, "action": {action}}
	code, body, err := g.ask(ctx, http.MethodPost, "debug/debug/enclave?"+q.Encode())
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%d: %s", code, body)
	}
	if err != nil {
		return fmt.Errorf("%s: %s %s: %w", g.Name, action, enclaveID, err)
	}
	return nil
}

// DirectoryState is "current", "stale" or "expired".
func (g *Gateway) DirectoryState(ctx context.Context) (string, error) {
	_, body, err := g.ask(ctx, http.MethodGet, "http/readyz")
	ready := struct{ Directory string }{"current"} // which it does not say
	if err == nil {
		err = json.Unmarshal(body, &ready)
	}
	return ready.Directory, err
}

// Metrics reads /metrics.
func (g *Gateway) Metrics(ctx context.Context) (stack.Metrics, error) {
	_, body, err := g.ask(ctx, http.MethodGet, "http/metrics")
	if err != nil {
		return nil, err
	}
	return stack.ParseMetrics(string(body))
}

// Ready waits until it is connected to every enclave and has read its directory.
func (g *Gateway) Ready(ctx context.Context) error {
	return await(ctx, g.Name+" is not ready", func() error {
		code, body, err := g.ask(ctx, http.MethodGet, "http/readyz")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
}

// knows waits until it has a connection to the enclave.
func (g *Gateway) knows(ctx context.Context, enclaveID string) error {
	return await(ctx, g.Name+" does not know "+enclaveID, func() error {
		m, err := g.Metrics(ctx)
		if err == nil && m.ActiveConns(enclaveID) < 1 {
			err = errors.New("no connection")
		}
		return err
	})
}

// await calls f until it returns nil.
func await(ctx context.Context, what string, f func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", what, ctx.Err(), err)
		}
	}
}
