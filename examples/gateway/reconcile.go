package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/enclavepool/enclavepool/examples/internal/gateway"
	"github.com/enclavepool/enclavepool/examples/internal/reconcile"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/envconfig"
)

const reconcileHelp = `usage: gateway reconcile [flags]

Asks every enclave for its keys, compares them with the placement directory, and prints a line for each difference:

  not recorded                  an enclave has the key, the directory does not. -repair records it
  recorded elsewhere            one enclave has the key, the directory says another, which has not. -repair corrects it
  in several enclaves           which of them is to sign is yours to say; while one is recorded, that one does
  recorded and not made         no enclave has the key: a Create of the same name makes it. -forget takes it off the record
  recorded in an enclave that was not asked

It makes, moves and removes no key. A bbolt file is a running gateway's own: stop that first. With an etcd nothing has to stop.

Exit codes: 0 nothing differs, or all that did is repaired; 1 something could not be asked; 2 a setting is not valid;
3 differences are left.

`

// Exit codes of reconcile, beside 0 and 2.
const (
	exitNotAsked  = 1
	exitDifferent = 3
)

// reconcileSettings are what its flags and the environment say.
type reconcileSettings struct {
	pool           pool.Config
	directory      *gateway.Directory
	repair, forget bool
	timeout        time.Duration
}

func parseReconcile(args, environ []string, stdout io.Writer) (s reconcileSettings, err error) {
	fs := flag.NewFlagSet("gateway reconcile", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	config := fs.String("config", "", "file or folder with the variables, as for the gateway")
	enclaves := fs.String("enclaves", "", "the enclaves, in the place of "+envEnclaves+" in the environment")
	directory := addDirectoryFlags(fs)
	fs.BoolVar(&s.repair, "repair", false, "correct the directory where one enclave has the key")
	fs.BoolVar(&s.forget, "forget", false, "forget the places of keys that no enclave has; only while no gateway makes keys")
	fs.DurationVar(&s.timeout, "timeout", 10*time.Minute, "time that it may take in all")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, reconcileHelp)
			fs.SetOutput(stdout)
			fs.PrintDefaults()
		}
		return s, err
	}
	var errs []error
	if fs.NArg() > 0 {
		errs = append(errs, invalid("arguments", strings.Join(fs.Args(), " "), "none"))
	}
	if s.timeout <= 0 {
		errs = append(errs, invalid("-timeout", s.timeout.String(), "more than 0s"))
	}
	s.directory, _, err = directory.parse(environ)
	errs = append(errs, unjoin(err)...)
	if s.directory.File == "" && !s.directory.Shared() {
		errs = append(errs, invalid("-directory", "memory", "bolt:FILE or etcd:ENDPOINT,…: memory is gone with its gateway"))
	}
	s.pool, err = envconfig.Load(enclavesFrom(environ, *enclaves), *config)
	for _, err := range unjoin(err) {
		errs = append(errs, named(err, *enclaves != ""))
	}
	return s, errors.Join(errs...)
}

// enclavesFrom puts the flag in the place of its variable.
func enclavesFrom(environ []string, flag string) []string {
	if flag == "" {
		return environ
	}
	environ = slices.DeleteFunc(slices.Clone(environ), func(v string) bool { return strings.HasPrefix(v, envEnclaves+"=") })
	return append(environ, envEnclaves+"="+flag)
}

// runReconcile does it all and returns the exit code.
func runReconcile(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	s, err := parseReconcile(args, environ, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		complain(stderr, err)
		return 2
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	result, err := compareAll(ctx, s, stdout)
	summarize(stdout, result)
	if err != nil {
		complain(stderr, err)
	}
	for _, id := range slices.Sorted(maps.Keys(result.Failed)) {
		complain(stderr, fmt.Errorf("enclave %s could not be asked: %w", id, result.Failed[id]))
	}
	switch {
	case err != nil || len(result.Failed) > 0:
		return exitNotAsked
	case result.Left() > 0:
		return exitDifferent
	}
	return 0
}

func complain(to io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(to, "gateway:", strings.TrimSuffix(line, "\n"))
	}
}

// patienceForEnclaves is how long an enclave may take until it is connected.
const patienceForEnclaves = 10 * time.Second

func compareAll(ctx context.Context, s reconcileSettings, stdout io.Writer) (reconcile.Result, error) {
	dir, closing, err := s.directory.Open()
	if err != nil {
		return reconcile.Result{}, err
	}
	defer closing()
	s.pool.MinConns, s.pool.MaxConns = 1, 1
	for i := range s.pool.Enclaves {
		s.pool.Enclaves[i].MinConns, s.pool.Enclaves[i].MaxConns = 0, 0
	}
	s.pool.RequestTimeout = patienceForEnclaves // for a page of names
	p, err := pool.New(s.pool, pool.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return reconcile.Result{}, err
	}
	defer p.Close(ctx)
	ready, cancel := context.WithTimeout(ctx, min(patienceForEnclaves, s.timeout/2))
	defer cancel()
	_ = p.Ready(ready) // one that is away is said to be when it is asked
	cfg := reconcile.Config{Directory: dir, Enclaves: map[string]reconcile.Enclave{}, Repair: s.repair, Forget: s.forget}
	for _, e := range s.pool.Enclaves {
		cfg.Enclaves[e.ID] = asked{signerv1.NewInventoryServiceClient(p.Conn(e.ID))}
	}
	cfg.Report = func(d reconcile.Difference) { fmt.Fprintln(stdout, lineOf(d)) }
	return reconcile.Run(ctx, cfg)
}

// asked is an enclave that is asked for its keys over the pool.
type asked struct {
	client signerv1.InventoryServiceClient
}

// ListKeys implements reconcile.Enclave.
func (a asked) ListKeys(ctx context.Context, from string, limit int) ([]string, bool, error) {
	res, err := a.client.ListKeys(ctx, &signerv1.ListKeysRequest{From: from, Limit: int32(limit)}, grpc.WaitForReady(false))
	return res.GetKeyIds(), res.GetMore(), err
}

// lineOf is a difference for people. Names are quoted: they are whatever their makers chose.
func lineOf(d reconcile.Difference) string {
	line := fmt.Sprintf("%q: %s", d.Key, d.Kind)
	if d.RecordedIn != "" {
		line += fmt.Sprintf("; recorded in %q", d.RecordedIn)
	}
	if len(d.FoundIn) > 0 {
		line += fmt.Sprintf("; found in %q", d.FoundIn)
	}
	switch {
	case d.Repaired:
		line += "; repaired"
	case d.Err != nil:
		line += fmt.Sprintf("; not repaired: %v", d.Err)
	}
	return line
}

func summarize(to io.Writer, r reconcile.Result) {
	found := 0
	for _, n := range r.Found {
		found += n
	}
	differences := 0
	for _, n := range r.Differences {
		differences += n
	}
	fmt.Fprintf(to, "%d keys recorded, %d found in %d enclaves: %d agree, %d differ, of which %d are repaired\n",
		r.Recorded, found, len(r.Found), r.Agreed, differences, r.Repaired)
}
