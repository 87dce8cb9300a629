package pool_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/enclavepool/enclavepool/pool"
)

// logBook is a writer for slog's JSON handler that can be read meanwhile.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBook) option() pool.Option {
	return pool.WithLogger(slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

// records returns what was logged and forgets it.
func (b *logBook) records(t *testing.T) (all []map[string]any) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range bytes.Lines(b.buf.Bytes()) {
		var r map[string]any
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		all = append(all, r)
	}
	b.buf.Reset()
	return all
}

func TestALostConnectionIsLoggedWithItsEnclaveItsIndexAndItsCause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var logs logBook
		p, e := memoryPool(t, &service{}, nil, logs.option())
		logs.records(t)
		e.DropConns(1)
		synctest.Wait()
		ready(t, p)
		found := 0
		for _, r := range logs.records(t) {
			if r["enclave_id"] != "a" {
				t.Errorf("record without the enclave: %v", r)
			}
			if n, ok := r["conn"].(float64); ok && r["level"] == "WARN" && n >= 0 && n < 4 && r["cause"] != nil && r["cause"] != "" {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d warnings with conn and cause for one lost connection; want 1", found)
		}
	})
}

func TestATotalLossAndTheRecoveryAreLogged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var logs logBook
		p, e := memoryPool(t, &service{}, nil, logs.option())
		logs.records(t)
		e.Stop()
		time.Sleep(10 * time.Second)
		lost := logs.records(t)
		if len(lost) == 0 {
			t.Fatal("nothing was logged")
		}
		e.Restart()
		ready(t, p)
		recovered := 0
		for _, r := range logs.records(t) {
			if r["enclave_id"] == "a" && r["level"] == "INFO" {
				recovered++
			}
		}
		if recovered == 0 {
			t.Error("the recovery was not logged")
		}
	})
}

func TestAnOutageDoesNotFloodTheLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var logs logBook
		_, e := memoryPool(t, &service{}, func(cfg *pool.Config) { cfg.MinConns, cfg.MaxConns = 16, 32 },
			pool.WithLogger(slog.New(slog.NewJSONHandler(&logs, nil)))) // INFO and above
		logs.records(t)
		e.Stop()
		time.Sleep(10 * time.Second)
		byText := map[string]int{}
		n := 0
		for _, r := range logs.records(t) {
			text, _ := r["msg"].(string)
			byText[text]++
			n++
		}
		if n > 16*10 { // each connection once a second
			t.Errorf("%d records in 10s of outage of 16 connections: %v", n, byText)
		}
	})
}

func TestPlaintextThatLeavesTheMachineIsSaidOnceForEachTarget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var logs logBook
		cfg := pool.DefaultConfig()
		cfg.Enclaves = []pool.Enclave{
			{ID: "far", Target: "192.0.2.1:5000"},
			{ID: "near", Target: "unix:/nowhere/a.sock"},
		}
		said := func(opts ...pool.Option) map[string]int {
			p, err := pool.New(cfg, append(opts, logs.option())...)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Close(context.Background()); err != nil {
				t.Error(err)
			}
			n := map[string]int{}
			for _, r := range logs.records(t) {
				if text, _ := r["msg"].(string); strings.Contains(text, "plaintext") {
					id, _ := r["enclave_id"].(string)
					n[id]++
				}
			}
			return n
		}
		if n := said(); n["far"] != 1 || n["near"] != 0 {
			t.Errorf("said %v; want once for far and never for near", n)
		}
		_, clientTLS := tlsConfigs(t, "localhost")
		if n := said(pool.WithTransportCredentials(credentials.NewTLS(clientTLS))); len(n) != 0 {
			t.Errorf("said %v with TLS; want nothing", n)
		}
	})
}
