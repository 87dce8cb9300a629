package statuspage_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

func newPool(t *testing.T, dial func(context.Context, string) (net.Conn, error), enclaves ...pool.Enclave) *pool.Pool {
	t.Helper()
	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 2, 2, 4
	cfg.Enclaves = enclaves
	p, err := pool.New(cfg, pool.WithDialer(dial), pool.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestAnEnclaveThatIsKilledAndReturnsIsSeenToDoSo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := pooltest.NewMemory(t, nil), pooltest.NewMemory(t, nil)
		p := newPool(t, pooltest.DialerFor(a, b), pool.Enclave{ID: "a", Target: a.Target()}, pool.Enclave{ID: "b", Target: b.Target()})
		page := show(t, p)
		if err := p.Ready(context.Background()); err != nil {
			t.Fatal(err)
		}
		l, err := p.Acquire(context.Background(), "b")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		later(time.Second)
		got := read(t, page)
		if e := got.one(t, "b"); !e.Well || e.HealthyConns != 2 || e.InFlight != 1 || e.Capacity != 8 || len(e.Connections) != 2 ||
			e.Connections[0].InFlight+e.Connections[1].InFlight != 1 || e.Connections[0].Limit != 4 || e.Last == nil {
			t.Errorf("before: %+v", e)
		}
		b.Stop()
		later(time.Second)
		got = read(t, page)
		if e := got.Enclaves[0]; e.ID != "b" || e.State != "degraded" || e.Well || e.Cause == "" || e.HealthyConns != 0 || len(e.Connections) != 0 ||
			e.Events[0].Signal != "lost" || e.Events[0].From != "healthy" || e.Events[0].To != "degraded" || e.Events[0].Cause == "" {
			t.Errorf("killed: %+v", e)
		}
		b.Restart()
		later(2 * time.Second)
		if e := read(t, page).one(t, "b"); !e.Well || e.HealthyConns != 2 || e.Reconnects != 2 || e.Recent["reconnects"] != 2 ||
			e.Events[0].Signal != "admitted" || e.Cause != "" {
			t.Errorf("back: %+v", e)
		}
	})
}

func TestWhatAHostileEnclaveSaysInGOAWAYIsOnlyText(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const debug = "<script>alert('x')</script>\x1b]0;gone\x07"
		dial := func(context.Context, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				if _, err := server.Read(make([]byte, len(http2.ClientPreface))); err != nil {
					return
				}
				fr := http2.NewFramer(server, server)
				go func() {
					for {
						if _, err := fr.ReadFrame(); err != nil {
							return
						}
					}
				}()
				// They fail when the pool has gone first.
				_ = fr.WriteSettings()
				_ = fr.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte(debug))
			}()
			return client, nil
		}
		page := show(t, newPool(t, dial, pool.Enclave{ID: "a", Target: "hostile"}))
		later(time.Second)
		w := ask(page, "GET", "/?data")
		if raw := w.Body.String(); strings.ContainsAny(raw, "<>\x1b\x07") || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s", w.Header().Get("Content-Type"), raw)
		}
		if e := read(t, page).one(t, "a"); e.Well || e.Cause == "" || len(e.Cause) > 1000 {
			t.Errorf("%+v", e)
		}
	})
}
