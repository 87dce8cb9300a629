package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Gateway is a running gateway.
type Gateway struct {
	// GRPC and HTTP are the addresses it listens on, as host:port; Debug is that of the status page, "" without -debug.
	GRPC, HTTP, Debug string

	web *http.Client
	*Process
}

func startGateway(ctx context.Context, name, program, dir string, enclaves []*Enclave, env, args []string) (*Gateway, error) {
	list := make([]string, len(enclaves))
	for i, e := range enclaves {
		list[i] = e.ID + "=" + e.Target
	}
	env = append([]string{
		"SIGNER_ENCLAVES=" + strings.Join(list, ","),
		"SIGNER_DIRECTORY=bolt:" + filepath.Join(dir, name+".db"), // a file has one gateway
	}, env...)
	args = append([]string{"-listen", "127.0.0.1:0", "-http", "127.0.0.1:0"}, args...)
	p, err := start(name, program, filepath.Join(dir, name+".log"), env, args...)
	if err != nil {
		return nil, err
	}
	g := &Gateway{Process: p, web: &http.Client{Timeout: 30 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true}}} // the gateway waits for open ones when it stops
	line, err := p.ready(ctx)
	if err == nil {
		g.GRPC, g.HTTP, g.Debug, err = addresses(line)
	}
	if err != nil {
		p.Kill()
		return nil, err
	}
	return g, nil
}

// addresses reads the line by which the gateway says where it listens.
func addresses(line string) (grpc, http, debug string, err error) {
	line, debug, _ = strings.Cut(strings.TrimSpace(line), ", debug on ")
	if _, err := fmt.Sscanf(strings.ReplaceAll(line, ",", ""), "gateway: gRPC on %s HTTP on %s", &grpc, &http); err != nil {
		return "", "", "", fmt.Errorf("gateway said %q, want its addresses: %w", line, err)
	}
	return grpc, http, debug, nil
}

// Dial returns a connection to the gateway's gRPC listener.
func (g *Gateway) Dial() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+g.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// Post sends JSON to the gateway's HTTP listener and decodes the answer.
func (g *Gateway) Post(ctx context.Context, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	answer, err := ask(ctx, g.web, http.MethodPost, "http://"+g.HTTP+path, string(text))
	if err == nil {
		err = json.Unmarshal(answer, into)
	}
	if err != nil {
		return fmt.Errorf("gateway: POST %s: %w", path, err)
	}
	return nil
}

// Metrics reads /metrics.
func (g *Gateway) Metrics(ctx context.Context) (Metrics, error) {
	page, err := ask(ctx, g.web, http.MethodGet, "http://"+g.HTTP+"/metrics", "")
	if err != nil {
		return nil, fmt.Errorf("gateway: /metrics: %w", err)
	}
	return ParseMetrics(string(page))
}

// pollEvery is the pause between two looks at something that has to become so.
const pollEvery = 20 * time.Millisecond

// AwaitConns waits until the gateway's active_conns for the enclave is n, or more unless n is 0.
func (g *Gateway) AwaitConns(ctx context.Context, enclaveID string, n int) error {
	for {
		m, err := g.Metrics(ctx)
		if err == nil {
			have := m.ActiveConns(enclaveID)
			if have == n || n > 0 && have > n {
				return nil
			}
			err = fmt.Errorf("active_conns is %d", have)
		}
		select {
		case <-time.After(pollEvery):
		case <-g.Done():
			return fmt.Errorf("the gateway has ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d connections to %s: %w: %w", n, enclaveID, ctx.Err(), err)
		}
	}
}

// Route is where a key belongs: to its owner, and where a request for it would be sent now; "": nowhere.
type Route struct {
	KeyID     string `json:"key_id"`
	OwnerID   string `json:"owner"`
	EnclaveID string `json:"enclave_id"`
}

// routesAtOnce is how many keys one request asks for; a body has 64 KiB at most.
const routesAtOnce = 2000

// Routes asks where keys of at most 20 bytes belong.
func (g *Gateway) Routes(ctx context.Context, keyIDs []string) ([]Route, error) {
	var all []Route
	for some := range slices.Chunk(keyIDs, routesAtOnce) {
		var answer struct{ Routes []Route }
		if err := g.Post(ctx, "/v1/route", map[string][]string{"key_ids": some}, &answer); err != nil {
			return nil, err
		}
		all = append(all, answer.Routes...)
	}
	return all, nil
}
