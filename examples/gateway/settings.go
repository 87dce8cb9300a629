package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/gateway"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/envconfig"
	"github.com/enclavepool/enclavepool/routing"
)

// The variables in whose place -enclaves and -directory stand.
const (
	envEnclaves  = "SIGNER_ENCLAVES"
	envDirectory = "SIGNER_DIRECTORY"
)

const help = `usage: gateway [flags]
       gateway reconcile [flags]   compares the placement directory with the enclaves: gateway reconcile -help

Variables, in the environment or in the file of -config:
  SIGNER_ENCLAVES  the enclaves, such as a=vsock:16:5000,b=unix:/run/b.sock;min=8;max=16
  SIGN_CONN_POOL_… how to keep connected to them:
    connections    _MIN _MAX _MAX_CONCURRENT_STREAMS _MAX_CONN_AGE _DIAL_TIMEOUT
    callers        _MAX_WAITERS _ACQUIRE_TIMEOUT _REQUEST_TIMEOUT
    keepalive      _KEEPALIVE_TIME _KEEPALIVE_TIMEOUT _KEEPALIVE_PERMIT_WITHOUT_STREAM
    reconnecting   _BACKOFF_INITIAL _BACKOFF_MAX _BACKOFF_MULTIPLIER _BACKOFF_JITTER _BACKOFF_BUDGET
    health probes  _HEALTH_INTERVAL _HEALTH_TIMEOUT _HEALTH_FAILURE_THRESHOLD _HEALTH_COOLDOWN _HEALTH_DISABLED
The file wins over the environment, is read every second and on SIGHUP, and a change is applied while calls go on; one that
is not valid changes nothing, and the log says why. docs/config/enclave-config.md has unit, default and range of each.
In the environment alone, and read once:
  SIGNER_DIRECTORY where it is written down which enclave each key lives in, as -directory says

Addresses are host:port or unix:/path. HTTP serves:
  POST /v1/keys              make a key: {"key_id":"k","algorithm":"ED25519"}, both may be left out
  POST /v1/sign              sign: {"key_id":"k","digest":"<32 bytes as base64 or hexadecimal digits>"}
  GET  /v1/route?key_id=k    where a key belongs: {"key_id":"k","owner":"a","enclave_id":"a"}. The owner is the same in every
                             gateway; enclave_id is where a request would be sent now, absent (with a reason) if nowhere.
                             A key that has no place yet has the ones that it would get, and a reason
  POST /v1/route             the same for many keys: {"key_ids":["k","l"]}, answered with {"routes":[…]}
  GET  /healthz /readyz /metrics
With -debug ADDRESS, a listener of its own serves the pool as a live page at /debug/pool (as JSON at /debug/pool?data), and
  POST /debug/enclave?id=a&action=drain      takes an enclave out of this gateway: also resume; cordon (no new keys), uncordon
It asks nobody who they are.

`

// settings are what the flags and the environment say.
type settings struct {
	listen, http string
	debug        string // empty: nowhere
	drainTimeout time.Duration
	level        slog.Level
	transport    gateway.Transport
	selector     routing.Selector
	directory    *gateway.Directory // nil: keys are where the selector says
	cache        int                // places kept in memory
	config       string             // the file or folder that is followed; empty: none
	environ      []string           // what its values win over
	pool         pool.Config
}

// invalid says which setting is wrong, its value, and what would be right.
func invalid(name, value, want string) error {
	return fmt.Errorf("%s: %q is not valid: want %s", name, value, want)
}

// parse reads flags and environment. Help goes to stdout and is then the error flag.ErrHelp. Any other error joins one
// for every setting that is not valid; a flag that does not exist hides the others, since nobody knows where it ends.
func parse(args, environ []string, stdout io.Writer) (settings, error) {
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // the caller prints the error; the parser would print it as well
	fs.Usage = func() {}
	// All are read as text, so that one bad value does not end the parsing.
	config := fs.String("config", "", "file with a line NAME=value for each variable, or folder with a file for each,\n"+
		"as Kubernetes mounts a ConfigMap; it is followed")
	enclaves := fs.String("enclaves", "", "the enclaves, in the place of "+envEnclaves+" in the environment")
	listen := fs.String("listen", "127.0.0.1:9090", "address for gRPC")
	web := fs.String("http", "127.0.0.1:8080", "address for HTTP")
	debug := fs.String("debug", "", "address for the status page, at /debug/pool, for operators only; empty: none")
	level := fs.String("log-level", "info", "debug, info, warn or error")
	transport := fs.String("transport", "stream", "how requests travel to the enclaves: stream (messages on warm streams) or unary (a call each)")
	policy := fs.String("routing", "placed", "which enclave serves a key: placed (the one where it was made, as -directory has it), strict (the one\n"+
		"that its name hashes to), or spill or spill:n (strict, but new keys go to one of the n after it, 1 when it is\n"+
		"not said, while that one is away)")
	directory := addDirectoryFlags(fs)
	drain := fs.String("drain-timeout", "10s", "time that calls in flight have after SIGTERM or SIGINT")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, help)
			fs.SetOutput(stdout)
			fs.PrintDefaults()
		}
		return settings{}, err
	}
	s := settings{listen: *listen, http: *web, debug: *debug, config: *config, environ: environ}
	var errs []error
	if fs.NArg() > 0 {
		errs = append(errs, invalid("arguments", strings.Join(fs.Args(), " "), "none"))
	}
	for _, a := range [][2]string{{"-listen", s.listen}, {"-http", s.http}, {"-debug", s.debug}} {
		if a[0] == "-debug" && a[1] == "" {
			continue
		}
		if err := gateway.CheckAddress(a[1]); err != nil {
			errs = append(errs, invalid(a[0], a[1], "host:port or unix:/path: "+err.Error()))
		}
	}
	if err := s.level.UnmarshalText([]byte(*level)); err != nil {
		errs = append(errs, invalid("-log-level", *level, "debug, info, warn or error"))
	}
	var err error
	if s.transport, err = gateway.ParseTransport(*transport); err != nil {
		errs = append(errs, invalid("-transport", *transport, "stream or unary"))
	}
	if *policy == "placed" {
		s.selector = routing.NewRendezvous()
		s.directory, s.cache, err = directory.parse(environ)
		errs = append(errs, unjoin(err)...)
	} else if s.selector, err = gateway.ParseRouting(*policy); err != nil {
		errs = append(errs, invalid("-routing", *policy, "strict, spill or spill:n, or placed: "+err.Error()))
	} else if flag := directory.given(fs); flag != "" {
		errs = append(errs, fmt.Errorf("%s is given, and -routing is %q: want -routing placed with it", flag, *policy))
	}
	if s.drainTimeout, err = time.ParseDuration(*drain); err != nil || s.drainTimeout < 0 {
		errs = append(errs, invalid("-drain-timeout", *drain, "a duration of 0 or more, such as 10s"))
	}
	s.environ = enclavesFrom(environ, *enclaves)
	s.pool, err = envconfig.Load(s.environ, s.config)
	for _, err := range unjoin(err) {
		errs = append(errs, named(err, *enclaves != ""))
	}
	return s, errors.Join(errs...)
}

// named gives what is wrong with the pool's settings the name that its author has used.
func named(err error, byFlag bool) error {
	var e *envconfig.Error
	switch {
	case !errors.As(err, &e): // the file cannot be read
		return fmt.Errorf("-config: %w", err)
	case byFlag && e.Name == envEnclaves && e.Where == "environment":
		renamed := *e
		renamed.Name, renamed.Where = "-enclaves", ""
		return &renamed
	}
	return err
}

// unjoin returns what errors.Join has joined.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
