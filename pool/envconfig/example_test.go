package envconfig_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/envconfig"
)

func ExampleFromEnviron() {
	os.Setenv("SIGNER_ENCLAVES", "a=vsock:16:5000;min=8,b=unix:/run/b.sock") // your deployment does this
	os.Setenv("SIGN_CONN_POOL_MAX", "64")
	defer os.Unsetenv("SIGNER_ENCLAVES")
	defer os.Unsetenv("SIGN_CONN_POOL_MAX")

	cfg, err := envconfig.FromEnviron()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cfg.MinConns, cfg.MaxConns, cfg.Enclaves[0].MinConns, cfg.Enclaves[1].Target)
	// Output: 16 64 8 unix:/run/b.sock
}

func ExampleFromFile() {
	path, remove := exampleFile("SIGNER_ENCLAVES=a=vsock:16:5000\nSIGN_CONN_POOL_KEEPALIVE_TIME=off # no pings\n")
	defer remove()

	cfg, err := envconfig.FromFile(path) // /etc/signer/pool.env, or the directory of a mounted ConfigMap
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cfg.Enclaves[0].ID, cfg.Keepalive.Time)
	// Output: a 0s
}

// A flag that goes before the environment is one more assignment.
func ExampleLoad() {
	flagEnclaves := "b=unix:/run/b.sock"
	cfg, err := envconfig.Load([]string{"SIGNER_ENCLAVES=a=vsock:16:5000", "SIGNER_ENCLAVES=" + flagEnclaves}, "")
	fmt.Println(cfg.Enclaves[0].ID, err)

	_, err = envconfig.Load([]string{"SIGN_CONN_POOL_MXA=48", "SIGN_CONN_POOL_HEALTH_DISABLED=yes"}, "")
	fmt.Println(err)
	// Output:
	// b <nil>
	// SIGN_CONN_POOL_MXA is "48" (environment), want a name that is known; the nearest is SIGN_CONN_POOL_MAX
	// SIGN_CONN_POOL_HEALTH_DISABLED is "yes" (environment), want true or false
	// SIGNER_ENCLAVES: want at least one enclave, such as a=vsock:16:5000
}

func ExampleParseEnclaves() {
	enclaves, err := envconfig.ParseEnclaves("a=vsock:16:5000;min=8;max=16, b=unix:/run/b.sock;weight=2;authority=signer.internal")
	fmt.Printf("%+v %v\n", enclaves[0], err)
	fmt.Printf("%+v\n", enclaves[1])
	// Output:
	// {ID:a Target:vsock:16:5000 MinConns:8 MaxConns:16 Weight:0 Authority:} <nil>
	// {ID:b Target:unix:/run/b.sock MinConns:0 MaxConns:0 Weight:2 Authority:signer.internal}
}

func ExampleError() {
	_, err := envconfig.Load([]string{"SIGNER_ENCLAVES=a=vsock:16:5000;min=many"}, "")
	var e *envconfig.Error // the first; errors.Join has them all
	if errors.As(err, &e) {
		fmt.Printf("%s, %s, %q: want %s\n", e.Name, e.Part, e.Value, e.Want)
	}
	fmt.Println(errors.Is(err, pool.ErrConfig))
	// Output:
	// SIGNER_ENCLAVES, enclave "a" min, "many": want a whole number of at least 1
	// true
}

func ExampleWatch() {
	path, remove := exampleFile("SIGNER_ENCLAVES=a=unix:/run/a.sock\n")
	defer remove()
	cfg, err := envconfig.FromFile(path)
	if err != nil {
		log.Fatal(err)
	}
	p, err := pool.New(cfg, pool.WithLogger(quiet))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(context.Background())

	sizes := make(chan int, 2)
	apply := func(cfg pool.Config) error { // p.Update, if nobody waits for it
		defer func() { sizes <- cfg.MinConns }()
		return p.Update(cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		envconfig.Watch(ctx, path, apply, envconfig.WithInterval(10*time.Millisecond), envconfig.WithLogger(quiet))
	}()

	// Somebody edits the file.
	if err := os.WriteFile(path, []byte("SIGNER_ENCLAVES=a=unix:/run/a.sock\nSIGN_CONN_POOL_MIN=24\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	for <-sizes != 24 {
	}
	fmt.Println("the pool has followed:", p.Stats().Enclaves["a"].MinConns)
	cancel()
	<-ended // before the pool is closed
	// Output: the pool has followed: 24
}

func ExampleWithInterval() {
	// Only kill -HUP is to change anything.
	runUntilApplied(envconfig.WithInterval(0))
	// Output: applied
}

func ExampleWithSignals() {
	// SIGHUP is the application's own.
	runUntilApplied(envconfig.WithSignals(syscall.SIGTERM, os.Interrupt))
	runUntilApplied(envconfig.WithSignals()) // and only the file counts
	// Output:
	// applied
	// applied
}

func ExampleWithEnviron() {
	// The file goes before a flag, and that before the environment.
	runUntilApplied(envconfig.WithEnviron(append(os.Environ(), "SIGNER_ENCLAVES=b=unix:/run/b.sock")))
	// Output: applied
}

func ExampleWithLogger() {
	short := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "path" {
			return slog.Attr{}
		}
		return a
	}
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: short}))
	runUntilApplied(envconfig.WithLogger(log.With("component", "signer")))
	// Output:
	// applied
	// level=INFO msg="configuration applied" component=signer trigger=start
}

var quiet = slog.New(slog.DiscardHandler)

// exampleFile makes a file of the given content.
func exampleFile(content string) (path string, remove func()) {
	dir, err := os.MkdirTemp("", "e")
	if err != nil {
		log.Fatal(err)
	}
	path = filepath.Join(dir, "pool.env")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		log.Fatal(err)
	}
	return path, func() { os.RemoveAll(dir) }
}

// runUntilApplied runs Watch until the file has been applied once.
func runUntilApplied(opts ...envconfig.Option) {
	path, remove := exampleFile(strings.Repeat("# a comment\n", 3) + "SIGNER_ENCLAVES=a=unix:/run/a.sock\n")
	defer remove()
	ctx, cancel := context.WithCancel(context.Background())
	apply := func(pool.Config) error {
		fmt.Println("applied")
		cancel()
		return nil
	}
	envconfig.Watch(ctx, path, apply, append([]envconfig.Option{envconfig.WithLogger(quiet)}, opts...)...)
}
