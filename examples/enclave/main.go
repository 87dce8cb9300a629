package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	"github.com/enclavepool/enclavepool/examples/internal/stall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run serves until ctx ends and returns the exit code: 0 after a clean stop, 1 when serving failed, 2
// when the flags are wrong. It writes one line to stdout once calls are accepted.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var server *enclave.Server
	if err == nil {
		s.options.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: s.level}))
		server, err = enclave.New(s.options)
	}
	if err != nil {
		fmt.Fprintln(stderr, "enclave:", err)
		return 2
	}
	if err := serve(ctx, server, s, stdout); err != nil {
		s.options.Logger.Error("enclave failed", "err", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, server *enclave.Server, s settings, stdout io.Writer) error {
	defer server.Close()
	lis, err := enclave.Listen(s.listen)
	if err != nil {
		return err
	}
	if who := enclave.Exposed(s.listen); who != "" {
		s.options.Logger.Warn("others can take the socket's place; make its folder your own, mode 0700", "listen", s.listen, "others", who)
	}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(lis) }()
	ready := "enclave: ready on " + where(s.listen, lis)
	if s.control != "" {
		control, err := enclave.Listen(s.control)
		if err != nil {
			return err
		}
		watch := stall.Start()
		defer watch.Stop()
		web := &http.Server{Handler: withStalls(server.Control(), watch), ReadHeaderTimeout: 5 * time.Second}
		defer web.Close()
		go func() { failed <- web.Serve(control) }()
		ready += ", control on " + where(s.control, control)
	}
	fmt.Fprintln(stdout, ready)

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.options.Logger.Info("stopping", "grace", s.grace)
	grace, cancel := context.WithTimeout(context.Background(), s.grace)
	defer cancel()
	if server.Stop(grace) != nil {
		s.options.Logger.Warn("calls in flight were cut", "grace", s.grace)
	}
	return nil
}

// withStalls adds GET /stalls to the control endpoint: the times in which this process did not get a processor, as JSON.
func withStalls(control http.Handler, watch *stall.Watch) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", control)
	mux.HandleFunc("GET /stalls", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(watch.Stalls()) // it can only fail when the client has gone
	})
	return mux
}

// where is the target as it was given, or for TCP the address listened on, since port 0 draws one.
func where(given string, lis net.Listener) string {
	if strings.HasPrefix(lis.Addr().Network(), "tcp") {
		return lis.Addr().String()
	}
	return given
}
