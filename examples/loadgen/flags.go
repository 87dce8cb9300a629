package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/command"
	"github.com/enclavepool/enclavepool/examples/internal/load"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/internal/target"
)

// maxConnections bounds -connections.
const maxConnections = 10_000

// settings are what the flags say.
type settings struct {
	target      target.Target
	connections int
	json        string
	failOnError bool
	load        load.Config // without Conns and Progress
}

var algorithms = map[string]signerv1.Algorithm{
	"ecdsa-secp256k1": signerv1.Algorithm_ALGORITHM_ECDSA_SECP256K1,
	"ed25519":         signerv1.Algorithm_ALGORITHM_ED25519,
}

func float(s string) (float64, error) { return strconv.ParseFloat(s, 64) }

// parse reads the flags; help goes to stdout and is then the error flag.ErrHelp. Any other error names
// every flag that is missing or not valid.
func parse(args []string, stdout io.Writer) (settings, error) {
	s := settings{connections: 4, load: load.Config{Mode: load.Unary, Callers: 50, Duration: 10 * time.Second, Keys: 16,
		Timeout: time.Second, VerifyEvery: 1, ProgressEvery: time.Second}}
	f := command.New("loadgen", help)
	var to, algorithm, verify = "", "ecdsa-secp256k1", true
	s.failOnError = true
	c := &s.load
	f.StringVar(&to, "target", to, "service to load: host:port, unix:/path, vsock:CID:PORT; required")
	command.Value(f, &s.connections, "connections", "connections to share between the callers", "a whole number from 1", strconv.Atoi)
	command.Value(f, &c.Mode, "mode", "how digests travel", "unary or stream", func(t string) (load.Mode, error) { return load.Mode(t), nil })
	command.Value(f, &c.Callers, "callers", "callers at work at the same time", "a whole number from 1", strconv.Atoi)
	command.Value(f, &c.Duration, "duration", "how long calls are begun", "a duration such as 10s", time.ParseDuration)
	command.Value(f, &c.Rate, "rate", "calls begun per second by all callers together; latency then counts from the intended start", "a number, 0 for as many as the callers manage", float)
	command.Value(f, &c.Timeout, "timeout", "deadline of each call", "a duration such as 1s", time.ParseDuration)
	command.Value(f, &c.Keys, "keys", "keys to create and sign with", "a whole number from 1", strconv.Atoi)
	command.Value(f, &algorithm, "algorithm", "algorithm of the keys", "ecdsa-secp256k1 or ed25519", func(t string) (string, error) {
		if _, ok := algorithms[t]; !ok {
			return "", errors.New("unknown")
		}
		return t, nil
	})
	f.BoolVar(&verify, "verify", verify, "verify signatures")
	command.Value(f, &c.VerifyEvery, "verify-every", "verify one signature of this many; verifying takes cores from the load", "a whole number from 1", strconv.Atoi)
	command.Value(f, &c.ProgressEvery, "interval", "length of the intervals shown and reported", "a duration such as 1s", time.ParseDuration)
	command.Value(f, &c.SetupTimeout, "setup-timeout", "time to create the keys and open the streams", "a duration, 0 for 10s", time.ParseDuration)
	f.StringVar(&s.json, "json", "", `file for the report as JSON, "-" for stdout; empty: none`)
	f.BoolVar(&s.failOnError, "fail-on-error", s.failOnError, "exit with 1 when any call failed")

	if err := f.Parse(args, stdout); err != nil {
		return s, err
	}
	var err error
	if to == "" {
		f.Add(errors.New("-target is missing"))
	} else if s.target, err = target.Parse(to); err != nil {
		f.Add(fmt.Errorf("-target: %w", err))
	}
	f.Check(s.connections >= 1 && s.connections <= maxConnections, "connections", s.connections, fmt.Sprint("1 to ", maxConnections))
	f.Check(c.VerifyEvery != 0, "verify-every", c.VerifyEvery, "1 or more, or -verify=false")
	f.Check(c.ProgressEvery != 0, "interval", c.ProgressEvery, "more than 0")
	f.Add(c.Validate())
	if !verify {
		c.VerifyEvery = 0
	}
	c.Algorithm = algorithms[algorithm]
	return s, f.Err()
}

const help = `usage: loadgen -target TARGET [flags]
       loadgen -compare [flags]    ways of reaching an enclave, side by side; see loadgen -compare -help

Creates keys, lets callers sign digests, verifies the signatures and reports what it saw. Exits with 0
when all was well, 1 when a signature was wrong, a call failed or the service could not be reached, and
2 when the flags are wrong. Ctrl-C ends the run early; the report is written all the same.

`
