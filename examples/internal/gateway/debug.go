package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/enclavepool/enclavepool/pool/statuspage"
)

// newDebugServer has the limits of a page for a few operators; ServeDebug gives it the page.
func newDebugServer(l Limits, log *slog.Logger) *http.Server {
	return &http.Server{
		ReadHeaderTimeout: l.Header,
		ReadTimeout:       l.Read,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// ServeDebug serves the pool's status page at /debug/pool until Shutdown has closed the pool, and then returns nil, or
// until the listener fails. It closes the listener. Call it once at most. It asks nobody who they are, so the listener
// is one that only operators reach.
func (g *Gateway) ServeDebug(lis net.Listener) error {
	if exposed(lis.Addr()) {
		g.log.Warn("other machines may reach the status page, and readers are not authenticated", "address", lis.Addr().String())
	}
	page := statuspage.New(g.pool)
	defer page.Close()
	mux := http.NewServeMux()
	mux.Handle("/debug/pool", page)
	mux.HandleFunc("POST /debug/enclave", g.operate)
	g.debug.Handler = mux
	if err := g.debug.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("status page: %w", err)
	}
	return nil
}
