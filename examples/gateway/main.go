package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/enclavepool/enclavepool/examples/internal/gateway"
	"github.com/enclavepool/enclavepool/pool/envconfig"
)

func main() {
	// Without a receiver SIGHUP would end the process: before the configuration is watched, and while it stops.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run serves until ctx ends and returns the exit code: 0 after a stop on request, 1 when serving failed, 2 when a
// setting is not valid. It writes one line to stdout once calls are accepted.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "reconcile" {
		return runReconcile(ctx, args[1:], environ, stdout, stderr)
	}
	s, err := parse(args, environ, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		complain(stderr, err)
		return 2
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: s.level}))
	if err := serve(ctx, s, log, stdout); err != nil {
		log.Error("gateway failed", "err", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, s settings, log *slog.Logger, stdout io.Writer) error {
	grpcListener, err := gateway.Listen(s.listen)
	if err != nil {
		return err
	}
	httpListener, err := gateway.Listen(s.http)
	if err != nil {
		return errors.Join(err, grpcListener.Close())
	}
	cfg := gateway.Config{Pool: s.pool, Transport: s.transport, Selector: s.selector, Logger: log}
	closing, err := withDirectory(s, &cfg)
	if err != nil {
		return errors.Join(err, grpcListener.Close(), httpListener.Close())
	}
	defer closing()
	g, err := gateway.New(cfg)
	if err != nil {
		return errors.Join(err, grpcListener.Close(), httpListener.Close())
	}
	follow, leave := context.WithCancel(ctx)
	defer leave()
	following := make(chan struct{})
	go func() {
		defer close(following)
		envconfig.Watch(follow, s.config, g.Update, watching(s, log, g.Reloaded)...)
	}()
	debug, err := serveDebug(g, s.debug, log)
	if err != nil {
		return errors.Join(err, grpcListener.Close(), httpListener.Close(), g.Shutdown(context.Background()))
	}
	defer debug.wait()
	served := make(chan error, 1)
	go func() { served <- g.Serve(grpcListener, httpListener) }()
	fmt.Fprintf(stdout, "gateway: gRPC on %s, HTTP on %s%s\n", where(s.listen, grpcListener), where(s.http, httpListener), debug.said)

	select {
	case err := <-served:
		served <- err // it is waited for below
	case <-ctx.Done():
		log.Info("stopping", "drain_timeout", s.drainTimeout)
	}
	leave()
	<-following
	drain, cancel := context.WithTimeout(context.Background(), s.drainTimeout)
	defer cancel()
	if cut := g.Shutdown(drain); cut != nil {
		log.Warn("not everything ended in time", "err", cut)
	}
	return <-served
}

// withDirectory opens the placement directory, where there is to be one.
func withDirectory(s settings, cfg *gateway.Config) (closing func(), err error) {
	if s.directory == nil {
		return func() {}, nil
	}
	dir, closeDirectory, err := s.directory.Open()
	if err != nil {
		return nil, err
	}
	cfg.Directory, cfg.DirectoryCache, cfg.MirrorDirectory = dir, s.cache, s.directory.Shared()
	return func() {
		if err := closeDirectory(); err != nil {
			cfg.Logger.Error("the placement directory was not closed well", "err", err)
		}
	}, nil
}

// watching are the options for following the configuration. Without a file only SIGHUP is heeded: it applies the
// environment again, which changes nothing.
func watching(s settings, log *slog.Logger, reloaded func(error)) []envconfig.Option {
	opts := []envconfig.Option{envconfig.WithLogger(log), envconfig.WithEnviron(s.environ), envconfig.WithResult(reloaded)}
	if s.config == "" {
		opts = append(opts, envconfig.WithInterval(0))
	}
	return opts
}

// where is the address as it was given, or for TCP the one listened on, since port 0 draws one.
func where(given string, lis net.Listener) string {
	if _, ok := lis.Addr().(*net.TCPAddr); ok {
		return lis.Addr().String()
	}
	return given
}
