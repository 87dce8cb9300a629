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
	"github.com/enclavepool/enclavepool/pool/pooltest"
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

// about returns the records with that message and a connection.
func about(records []map[string]any, msg string) (out []map[string]any) {
	for _, r := range records {
		if _, ok := r["conn"].(float64); ok && r["msg"] == msg {
			out = append(out, r)
		}
	}
	return out
}

func TestEveryRemovalAndReturnIsLoggedWithItsEnclaveItsConnectionAndItsCause(t *testing.T) {
	for name, c := range map[string]struct {
		remove, mend  func(*pooltest.Enclave)
		removed, says string
		next          time.Duration // until it is tried again, where that is said
	}{
		"lost": {func(e *pooltest.Enclave) { e.Stop() }, func(e *pooltest.Enclave) { e.Restart() }, "connection lost", "", 0},
		"ejected": {func(e *pooltest.Enclave) { e.Freeze() }, func(e *pooltest.Enclave) { e.Thaw() }, "connection lost",
			"ejected after 3 failed health probes", time.Second},
		"suspended": {func(e *pooltest.Enclave) { e.SetServing(false) }, func(e *pooltest.Enclave) { e.SetServing(true) },
			"connection out of rotation", "NOT_SERVING", 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var logs logBook
				p, e := memoryPool(t, &service{}, nil, logs.option())
				time.Sleep(time.Second)
				logs.records(t)
				c.remove(e)
				time.Sleep(2 * time.Second)
				removals := about(logs.records(t), c.removed)
				c.mend(e)
				ready(t, p)
				synctest.Wait()
				returns := about(logs.records(t), "connection back in rotation")
				if len(removals) != 2 || len(returns) != 2 {
					t.Fatalf("%d removals and %d returns of two connections: %v %v", len(removals), len(returns), removals, returns)
				}
				seen := map[any]int{}
				for _, r := range append(removals, returns...) {
					seen[r["conn"]]++
					if cause, _ := r["cause"].(string); r["enclave_id"] != "a" || cause == "" {
						t.Errorf("without its enclave or its cause: %v", r)
					}
				}
				if seen[0.0] != 2 || seen[1.0] != 2 {
					t.Errorf("by connection: %v", seen)
				}
				for _, r := range removals {
					if cause, _ := r["cause"].(string); !strings.Contains(cause, c.says) {
						t.Errorf("cause %q, want %q in it", cause, c.says)
					}
					if next, ok := r["next"].(float64); ok && time.Duration(next) != c.next {
						t.Errorf("next attempt after %v, want %v", time.Duration(next), c.next)
					}
				}
			})
		})
	}
}

func TestASpentBudgetIsOneRecord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var logs logBook
		p, e := memoryPool(t, &service{}, func(cfg *pool.Config) { cfg.MinConns, cfg.MaxConns = 32, 32 }, logs.option())
		spent := func() (out []map[string]any) {
			for _, r := range logs.records(t) {
				if r["level"] == "ERROR" {
					out = append(out, r)
				}
			}
			return out
		}
		for range 3 {
			time.Sleep(time.Second)
			spent()
			e.Stop()
			time.Sleep(190 * time.Millisecond)
			if got := spent(); len(got) != 0 {
				t.Errorf("before the budget is spent: %v", got)
			}
			time.Sleep(time.Minute)
			got := spent()
			if len(got) != 1 {
				t.Fatalf("%d records of a budget that was spent once: %v", len(got), got)
			}
			if r := got[0]; r["enclave_id"] != "a" || r["budget"] != float64(200*time.Millisecond) || r["cause"] == "" || r["cause"] == nil {
				t.Errorf("%v, want the enclave, the budget and the cause", r)
			}
			e.Restart()
			ready(t, p)
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
