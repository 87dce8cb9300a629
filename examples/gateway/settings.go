package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/gateway"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/routing"
)

// The environment variables that are read.
const (
	envEnclaves = "SIGNER_ENCLAVES"
	envMinConns = "SIGN_CONN_POOL_MIN"
	envMaxConns = "SIGN_CONN_POOL_MAX"
	envHealth   = "SIGN_CONN_POOL_HEALTH_TIMEOUT"
)

const help = `usage: gateway [flags]

Environment:
  SIGNER_ENCLAVES                the enclaves, such as a=vsock:16:5000,b=unix:/run/b.sock; -enclaves overrides it
  SIGN_CONN_POOL_MIN             connections kept to each enclave (default 16)
  SIGN_CONN_POOL_MAX             connections an enclave may have (default 32)
  SIGN_CONN_POOL_HEALTH_TIMEOUT  time that a health probe has; longer on a machine that is slow (default 50ms)

Addresses are host:port or unix:/path. HTTP serves:
  POST /v1/keys              make a key: {"key_id":"k","algorithm":"ED25519"}, both may be left out
  POST /v1/sign              sign: {"key_id":"k","digest":"<32 bytes as base64 or hexadecimal digits>"}
  GET  /v1/route?key_id=k    where a key belongs: {"key_id":"k","owner":"a","enclave_id":"a"}. The owner is the same in every
                             gateway; enclave_id is where a request would be sent now, absent (with a reason) if nowhere
  POST /v1/route             the same for many keys: {"key_ids":["k","l"]}, answered with {"routes":[…]}
  GET  /healthz /readyz /metrics
With -debug ADDRESS, a listener of its own serves the pool as a live page at /debug/pool (as JSON at /debug/pool?data).
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
	pool         pool.Config
}

// invalid says which setting is wrong, its value, and what would be right.
func invalid(name, value, want string) error {
	return fmt.Errorf("%s: %q is not valid: want %s", name, value, want)
}

// parse reads flags and environment. Help goes to stdout and is then the error flag.ErrHelp. Any other error joins one
// for every setting that is not valid; a flag that does not exist hides the others, since nobody knows where it ends.
func parse(args []string, getenv func(string) string, stdout io.Writer) (settings, error) {
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // the caller prints the error; the parser would print it as well
	fs.Usage = func() {}
	// All are read as text, so that one bad value does not end the parsing.
	enclaves := fs.String("enclaves", "", "the enclaves, as in "+envEnclaves)
	listen := fs.String("listen", "127.0.0.1:9090", "address for gRPC")
	web := fs.String("http", "127.0.0.1:8080", "address for HTTP")
	debug := fs.String("debug", "", "address for the status page, at /debug/pool, for operators only; empty: none")
	level := fs.String("log-level", "info", "debug, info, warn or error")
	transport := fs.String("transport", "stream", "how requests travel to the enclaves: stream (messages on warm streams) or unary (a call each)")
	policy := fs.String("routing", "strict", "which enclave serves a key: strict (its owner alone), or spill or spill:n\n"+
		"(new keys go to one of the n after it, 1 when it is not said, while the owner is away)")
	drain := fs.String("drain-timeout", "10s", "time that calls in flight have after SIGTERM or SIGINT")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, help)
			fs.SetOutput(stdout)
			fs.PrintDefaults()
		}
		return settings{}, err
	}
	s := settings{listen: *listen, http: *web, debug: *debug, pool: pool.DefaultConfig()}
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
	if s.selector, err = gateway.ParseRouting(*policy); err != nil {
		errs = append(errs, invalid("-routing", *policy, "strict, spill or spill:n: "+err.Error()))
	}
	if s.drainTimeout, err = time.ParseDuration(*drain); err != nil || s.drainTimeout < 0 {
		errs = append(errs, invalid("-drain-timeout", *drain, "a duration of 0 or more, such as 10s"))
	}
	s.pool.MinConns, err = count(getenv, envMinConns, s.pool.MinConns)
	errs = append(errs, err)
	s.pool.MaxConns, err = count(getenv, envMaxConns, s.pool.MaxConns)
	errs = append(errs, err)
	if text := getenv(envHealth); text != "" {
		// Whether it is in range is for the pool to say.
		if d, err := time.ParseDuration(text); err != nil {
			errs = append(errs, invalid(envHealth, text, "a duration, such as 50ms"))
		} else {
			s.pool.Health.Timeout = d
		}
	}
	name, list := "-enclaves", *enclaves
	if list == "" {
		name, list = envEnclaves, getenv(envEnclaves)
	}
	s.pool.Enclaves, err = gateway.ParseEnclaves(list)
	if err != nil {
		errs = append(errs, fmt.Errorf("%s: %q is not valid: %w", name, list, err))
	}
	errs = append(errs, checkPool(s.pool, name)...)
	return s, errors.Join(errs...)
}

// count reads a number from the environment. Whether it is in range is for the pool to say.
func count(getenv func(string) string, name string, byDefault int) (int, error) {
	text := getenv(name)
	if text == "" {
		return byDefault, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return byDefault, invalid(name, text, "a whole number")
	}
	return n, nil
}

// checkPool returns what the pool finds wrong with cfg, under the names that the user knows, and starts nothing: a
// pool that is asked for with one setting known to be wrong reports the others and stays nil.
func checkPool(cfg pool.Config, enclavesName string) []error {
	cfg.DialTimeout = 0 // known to be wrong
	_, err := pool.New(cfg)
	var errs []error
	for _, err := range unjoin(err) {
		var f *pool.FieldError
		if !errors.As(err, &f) {
			errs = append(errs, err)
			continue
		}
		value := fmt.Sprint(f.Value)
		switch {
		case f.Field == "DialTimeout", f.Field == "Enclaves" && len(cfg.Enclaves) == 0: // ours, and reported already
		case f.Field == "MinConns":
			errs = append(errs, invalid(envMinConns, value, f.Want))
		case f.Field == "Health.Timeout":
			errs = append(errs, invalid(envHealth, value, f.Want))
		case f.Field == "MaxConns":
			errs = append(errs, invalid(envMaxConns, value, strings.ReplaceAll(f.Want, "MinConns", envMinConns)))
		default:
			want, _, _ := strings.Cut(f.Want, " (Enclaves[") // the place in a list that the user does not see
			errs = append(errs, invalid(enclaveSetting(cfg, f.Field, enclavesName), value, want))
		}
	}
	return errs
}

// enclaveSetting names a field such as Enclaves[2].Target by the enclave's ID in place of its number.
func enclaveSetting(cfg pool.Config, field, enclavesName string) string {
	var (
		i    int
		name string
	)
	if _, err := fmt.Sscanf(field, "Enclaves[%d].%s", &i, &name); err != nil || i >= len(cfg.Enclaves) {
		return field
	}
	return fmt.Sprintf("%s: %s of enclave %q", enclavesName, name, cfg.Enclaves[i].ID)
}

// unjoin returns what errors.Join has joined.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
