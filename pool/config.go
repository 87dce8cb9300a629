package pool

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/keepalive"

	"github.com/enclavepool/enclavepool/health"
	"github.com/enclavepool/enclavepool/internal/field"
	"github.com/enclavepool/enclavepool/internal/target"
	"github.com/enclavepool/enclavepool/reconnect"
)

// Config is everything a Pool can be told. Start from DefaultConfig: most zero
// values are not valid.
type Config struct {
	// Enclaves are what the pool connects to; at least one.
	Enclaves []Enclave
	// MinConns is how many connections are opened to each enclave at the start
	// and kept from then on. Default 16; 1 to MaxConns.
	MinConns int
	// MaxConns is how many connections an enclave may have under load: more
	// are opened while less than a quarter of the slots is free, and closed
	// one by one after 30s in which half of the slots would have done. Default
	// 32; MinConns to 1024.
	MaxConns int
	// MaxConcurrentStreams is how many streams one connection carries at most.
	// The limit that the server advertises holds as well, less the one stream
	// that is kept for health probes. Default 100; 1 to 65535.
	MaxConcurrentStreams int
	// MaxWaiters is how many callers may queue for one enclave; one more gets
	// ErrExhausted. Default 4096; 0: nobody queues.
	MaxWaiters int
	// AcquireTimeout is the longest a caller queues before it gets
	// ErrExhausted. Default 0: as long as its own context lasts. Where load may
	// exceed capacity for long, set it well below the callers' deadlines: a queue
	// in order of arrival otherwise serves everybody when their time is nearly up,
	// and most calls are made in vain.
	AcquireTimeout time.Duration
	// RequestTimeout is the deadline of a call, streams included, that brings
	// none of its own; it covers the wait for a slot too. A stream that is
	// meant to live longer needs a context with a later deadline. Default 5s;
	// 0: none.
	RequestTimeout time.Duration
	// DialTimeout is how long one attempt to connect may take, handshake and
	// first health check included. Default 150ms; at least 1ms.
	DialTimeout time.Duration
	// MaxConnAge is how old a connection gets before it is replaced, up to a
	// tenth less by chance so that not all go at once. Its successor is there
	// first, one at a time, and what is in flight finishes. Default 0: no
	// limit; else at least 1s.
	MaxConnAge time.Duration
	// Keepalive are the pings on silent connections. Default every 30s, 10s
	// for the answer, without streams too. Time 0: off; else at least 10s.
	Keepalive keepalive.ClientParameters
	// Reconnect is when a lost connection is dialled again, and how long
	// callers wait for it.
	Reconnect reconnect.Policy
	// Health is how connections are probed.
	Health health.Policy
}

// Enclave is one target and its name.
type Enclave struct {
	// ID names the enclave in calls, logs and metrics: 1 to 128 letters,
	// digits or any of "._:/@-". It has to be stable, since keys are routed by
	// it; a CID is not.
	ID string
	// Target is where it listens: "vsock:16:5000" (CID, port),
	// "unix:/run/a.sock", "unix-abstract:name", "hvsock:///run/vm.sock:5000"
	// (the Unix socket of a hybrid-vsock monitor such as Firecracker, and the
	// guest's port) or, for development, "host:port". With WithDialer it is
	// whatever the dialer understands.
	Target string
	// MinConns and MaxConns override the pool's. 0: the pool's.
	MinConns, MaxConns int
	// Weight is the enclave's share when keys are routed. 0: 1.
	Weight int
	// Authority is the :authority of every request, and the name a TLS
	// certificate is checked against. Empty: "localhost".
	Authority string
}

// clone returns a copy that shares nothing with cfg.
func (cfg Config) clone() Config {
	cfg.Enclaves = slices.Clone(cfg.Enclaves)
	return cfg
}

func (e Enclave) authority() string {
	if e.Authority == "" {
		return "localhost"
	}
	return e.Authority
}

// DefaultConfig returns the defaults named at each field, and no enclaves.
func DefaultConfig() Config {
	return Config{
		MinConns:             16,
		MaxConns:             32,
		MaxConcurrentStreams: 100,
		MaxWaiters:           4096,
		RequestTimeout:       5 * time.Second,
		DialTimeout:          150 * time.Millisecond,
		Keepalive: keepalive.ClientParameters{
			Time:                30 * time.Second,
			Timeout:             10 * time.Second,
			PermitWithoutStream: true,
		},
		Reconnect: reconnect.DefaultPolicy(),
		Health:    health.DefaultPolicy(),
	}
}

const (
	maxConns   = 1024
	maxStreams = 1<<16 - 1 // what the admission word has room for
	maxIDLen   = 128
)

// FieldError says which setting is wrong, its value, and what would be valid.
type FieldError = field.Error

// Validate returns nil, or what New would say of cfg: one *Error with ErrConfig
// for each bad field, joined. New with WithDialer does not check targets.
func (cfg Config) Validate() error {
	if problems := cfg.validate(checkTarget); len(problems) > 0 {
		return configErrors(problems)
	}
	return nil
}

func checkTarget(s string) error {
	_, err := target.Parse(s)
	return err
}

// validate returns every problem of cfg. parse checks a target.
func (cfg Config) validate(parse func(string) error) []error {
	var c field.Checks
	checkSizes(&c, cfg.MinConns, cfg.MaxConns)
	c.That(cfg.MaxConcurrentStreams >= 1 && cfg.MaxConcurrentStreams <= maxStreams,
		"MaxConcurrentStreams", cfg.MaxConcurrentStreams, fmt.Sprintf("1 to %d", maxStreams))
	c.That(cfg.MaxWaiters >= 0, "MaxWaiters", cfg.MaxWaiters, "0 or more")
	c.That(cfg.AcquireTimeout >= 0, "AcquireTimeout", cfg.AcquireTimeout, "0 (the caller's deadline alone) or more")
	c.That(cfg.RequestTimeout >= 0, "RequestTimeout", cfg.RequestTimeout, "0 (none) or more")
	c.That(cfg.DialTimeout >= time.Millisecond, "DialTimeout", cfg.DialTimeout, "at least 1ms")
	c.That(cfg.MaxConnAge == 0 || cfg.MaxConnAge >= time.Second, "MaxConnAge", cfg.MaxConnAge, "0 (no limit) or at least 1s")
	k := cfg.Keepalive
	c.That(k.Time == 0 || k.Time >= 10*time.Second, "Keepalive.Time", k.Time, "0 (off) or at least 10s")
	c.That(k.Time == 0 || k.Timeout > 0, "Keepalive.Timeout", k.Timeout, "more than 0")
	c.Under("Reconnect.", cfg.Reconnect.Validate())
	c.Under("Health.", cfg.Health.Validate())

	c.That(len(cfg.Enclaves) > 0, "Enclaves", "", "at least one")
	first := map[string]int{}
	for i, e := range cfg.Enclaves {
		at := fmt.Sprintf("Enclaves[%d].", i)
		c.That(validID(e.ID), at+"ID", e.ID, fmt.Sprintf(`1 to %d letters, digits or "._:/@-"`, maxIDLen))
		if j, ok := first[e.ID]; ok {
			c.That(false, at+"ID", e.ID, fmt.Sprintf("an ID that no other enclave has (Enclaves[%d] has it)", j))
		} else {
			first[e.ID] = i
		}
		if err := parse(e.Target); err != nil {
			c.That(false, at+"Target", e.Target, "a target: "+err.Error())
		}
		c.That(e.Weight >= 0 && e.Weight <= math.MaxInt32, at+"Weight", e.Weight, "0 (for 1) to 2147483647")
		c.That(!strings.ContainsFunc(e.Authority, func(r rune) bool { return r <= ' ' || r > '~' }),
			at+"Authority", e.Authority, "printable ASCII without spaces, or empty for localhost")
		least, most := cfg.sizes(e)
		c.That(e.MinConns >= 0 && e.MinConns <= maxConns, at+"MinConns", e.MinConns, fmt.Sprintf("0 (the pool's) to %d", maxConns))
		c.That(e.MaxConns >= 0 && e.MaxConns <= maxConns, at+"MaxConns", e.MaxConns, fmt.Sprintf("0 (the pool's) to %d", maxConns))
		if e.MinConns != 0 || e.MaxConns != 0 {
			c.That(most >= least, at+"MaxConns", most, fmt.Sprintf("at least its MinConns (%d)", least))
		}
	}
	return c.All()
}

// checkSizes checks between how many connections an enclave is to have.
func checkSizes(c *field.Checks, least, most int) {
	c.That(least >= 1 && least <= maxConns, "MinConns", least, fmt.Sprintf("1 to %d", maxConns))
	c.That(most >= max(least, 1) && most <= maxConns, "MaxConns", most, fmt.Sprintf("MinConns (%d) to %d", least, maxConns))
}

// sizes returns the least and the most connections that e is to have.
func (cfg Config) sizes(e Enclave) (least, most int) {
	least, most = cfg.MinConns, cfg.MaxConns
	if e.MinConns != 0 {
		least = e.MinConns
	}
	if e.MaxConns != 0 {
		most = e.MaxConns
	}
	return least, most
}

func validID(id string) bool {
	if id == "" || len(id) > maxIDLen {
		return false
	}
	for _, r := range id {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._:/@-", r):
		default:
			return false
		}
	}
	return true
}
