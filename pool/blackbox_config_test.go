package pool_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
)

// poolErrors returns every *pool.Error in the tree of err.
func poolErrors(err error) []*pool.Error {
	if e, ok := err.(*pool.Error); ok {
		return []*pool.Error{e}
	}
	var all []*pool.Error
	switch u := err.(type) {
	case interface{ Unwrap() []error }:
		for _, e := range u.Unwrap() {
			all = append(all, poolErrors(e)...)
		}
	case interface{ Unwrap() error }:
		all = poolErrors(u.Unwrap())
	}
	return all
}

// badFields checks that New refuses, with one error for each of the fields.
func badFields(t *testing.T, cfg pool.Config, want []string, opts ...pool.Option) {
	t.Helper()
	p, err := pool.New(cfg, append([]pool.Option{quiet}, opts...)...)
	if err == nil {
		_ = p.Close(expired())
		t.Fatalf("New succeeded; want errors about %v", want)
	}
	if p != nil {
		t.Error("New returned a pool and an error")
	}
	var got []string
	for _, e := range poolErrors(err) {
		var f *pool.FieldError
		if !errors.Is(e, pool.ErrConfig) || !errors.As(e, &f) || status.Code(e) != codes.InvalidArgument {
			t.Errorf("%v: want ErrConfig with a *FieldError and InvalidArgument", e)
			continue
		}
		if f.Want == "" || !strings.Contains(err.Error(), f.Error()) {
			t.Errorf("%v: does not say what would be valid, or is not in New's error", f)
		}
		got = append(got, f.Field)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("bad fields\n got %v\nwant %v", got, want)
	}
	if !errors.Is(err, pool.ErrConfig) {
		t.Errorf("New's error is not ErrConfig")
	}
}

func TestNewReportsEveryBadFieldTogether(t *testing.T) {
	cfg := pool.DefaultConfig()
	cfg.MinConns = 0
	cfg.MaxConns = 1025
	cfg.MaxConcurrentStreams = 65536
	cfg.MaxWaiters = -1
	cfg.AcquireTimeout = -1
	cfg.RequestTimeout = -1
	cfg.DialTimeout = time.Millisecond - 1
	cfg.Keepalive.Time = time.Second
	cfg.Keepalive.Timeout = 0
	cfg.Reconnect.Initial = 0
	cfg.Reconnect.Multiplier = 0.5
	cfg.Reconnect.Jitter = 1
	cfg.Reconnect.Budget = -1
	cfg.Health.Interval = time.Millisecond
	cfg.Health.Timeout = 0
	cfg.Health.FailureThreshold = 0
	cfg.Health.Cooldown = -1
	cfg.Enclaves = []pool.Enclave{
		{ID: "", Target: "unix:/run/a.sock"},
		{ID: "twice", Target: "unix:/run/a.sock"},
		{ID: "twice", Target: "unix:/run/a.sock"},
		{ID: "c", Target: "vsock:2:5000"},
		{ID: "d", Target: ""},
		{ID: "e", Target: "unix:/run/a.sock", Weight: -1, MinConns: -1, Authority: "no spaces"},
		{ID: strings.Repeat("x", 129), Target: "unix:/run/a.sock"},
		{ID: "umlaut-ä", Target: "unix:/run/a.sock"},
	}
	badFields(t, cfg, []string{
		"MinConns", "MaxConns", "MaxConcurrentStreams", "MaxWaiters", "AcquireTimeout", "RequestTimeout", "DialTimeout",
		"Keepalive.Time", "Keepalive.Timeout",
		"Reconnect.Initial", "Reconnect.Multiplier", "Reconnect.Jitter", "Reconnect.Budget",
		"Health.Interval", "Health.Timeout", "Health.FailureThreshold", "Health.Cooldown",
		"Enclaves[0].ID", "Enclaves[2].ID", "Enclaves[3].Target", "Enclaves[4].Target",
		"Enclaves[5].Weight", "Enclaves[5].MinConns", "Enclaves[5].Authority", "Enclaves[6].ID", "Enclaves[7].ID",
		"WithServiceConfig", "WithDialOptions",
	},
		pool.WithServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		pool.WithDialOptions(grpc.WithTransportCredentials(insecure.NewCredentials())))
}

func TestNewRefusesEachBadSettingByItself(t *testing.T) {
	valid := func() pool.Config {
		cfg := pool.DefaultConfig()
		cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "unix:/nowhere/a.sock"}}
		return cfg
	}
	for _, tt := range []struct {
		name   string
		change func(*pool.Config)
		want   string
		opts   []pool.Option
	}{
		{"no enclaves", func(c *pool.Config) { c.Enclaves = nil }, "Enclaves", nil},
		{"MaxConns below MinConns", func(c *pool.Config) { c.MaxConns = 15 }, "MaxConns", nil},
		{"an enclave's MaxConns below its MinConns", func(c *pool.Config) { c.Enclaves[0].MinConns, c.Enclaves[0].MaxConns = 5, 4 }, "Enclaves[0].MaxConns", nil},
		{"an enclave's MaxConns below the pool's MinConns", func(c *pool.Config) { c.Enclaves[0].MaxConns = 4 }, "Enclaves[0].MaxConns", nil},
		{"Reconnect.Max below Initial", func(c *pool.Config) { c.Reconnect.Max = c.Reconnect.Initial - 1 }, "Reconnect.Max", nil},
		{"service config that is no JSON", nil, "WithServiceConfig", []pool.Option{pool.WithServiceConfig(`{`)}},
		{"service config null", nil, "WithServiceConfig", []pool.Option{pool.WithServiceConfig(`null`)}},
		{"service config that gRPC refuses", nil, "WithServiceConfig", []pool.Option{pool.WithServiceConfig(`{"methodConfig":[{"name":[{"service":"s"}],"timeout":"soon"}]}`)}},
		{"load balancing policy by its old name", nil, "WithServiceConfig", []pool.Option{pool.WithServiceConfig(`{"loadBalancingPolicy":"round_robin"}`)}},
		{"insecure credentials as a dial option", nil, "WithDialOptions", []pool.Option{pool.WithDialOptions(grpc.WithTransportCredentials(insecure.NewCredentials()))}},
		{"a credentials bundle as a dial option", nil, "WithDialOptions", []pool.Option{pool.WithDialOptions(grpc.WithCredentialsBundle(insecure.NewBundle()))}},
		{"a dial option that gRPC refuses: a token for TLS alone, and no TLS", nil, "WithDialOptions", []pool.Option{pool.WithDialOptions(grpc.WithPerRPCCredentials(secureToken{}))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := valid()
			if tt.change != nil {
				tt.change(&cfg)
			}
			badFields(t, cfg, []string{tt.want}, tt.opts...)
		})
	}
}

// secureToken is a per-RPC credential that insists on TLS.
type secureToken struct{}

func (secureToken) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "token"}, nil
}
func (secureToken) RequireTransportSecurity() bool { return true }

func TestATokenThatInsistsOnTLSIsAcceptedWithTLS(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := pool.DefaultConfig()
		cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "somewhere"}}
		_, clientTLS := tlsConfigs(t, "localhost")
		newPool(t, cfg, pool.WithTransportCredentials(credentials.NewTLS(clientTLS)),
			pool.WithDialOptions(grpc.WithPerRPCCredentials(secureToken{})),
			pool.WithDialer(func(context.Context, string) (net.Conn, error) { return nil, net.ErrClosed }))
	})
}

func TestTheBoundsOfTheConfigAreValid(t *testing.T) {
	bubble(t, func(t *testing.T) {
		refuse := pool.WithDialer(func(context.Context, string) (net.Conn, error) { return nil, net.ErrClosed })
		for _, change := range []func(*pool.Config){
			func(c *pool.Config) { c.MinConns, c.MaxConns, c.MaxConcurrentStreams = 1, 1, 1 },
			func(c *pool.Config) { c.MinConns, c.MaxConns, c.MaxConcurrentStreams = 1, 1024, 65535 },
			func(c *pool.Config) { c.MaxWaiters, c.RequestTimeout, c.AcquireTimeout = 0, 0, 0 },
			func(c *pool.Config) { c.DialTimeout = time.Millisecond },
			func(c *pool.Config) { c.Keepalive.Time, c.Keepalive.Timeout = 0, 0 },
			func(c *pool.Config) { c.Keepalive.Time = 10 * time.Second },
			func(c *pool.Config) { c.Reconnect.Budget, c.Reconnect.Jitter, c.Reconnect.Multiplier = 0, 0, 1 },
			func(c *pool.Config) { c.Health.Disabled, c.Health.Interval = true, 0 },
			func(c *pool.Config) { c.Enclaves[0].ID = strings.Repeat("aZ09._:/@-", 12)[:118] },
			func(c *pool.Config) { c.Enclaves[0].MinConns, c.Enclaves[0].MaxConns = 40, 50 },
			func(c *pool.Config) { c.Enclaves[0].Target = "whatever the dialer understands" },
		} {
			cfg := pool.DefaultConfig()
			cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "somewhere"}}
			change(&cfg)
			p, err := pool.New(cfg, quiet, refuse)
			if err != nil {
				t.Errorf("%+v: %v", cfg, err)
				continue
			}
			if err := p.Close(t.Context()); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
}

func TestTheDefaultsAreAsDocumented(t *testing.T) {
	c := pool.DefaultConfig()
	ms := time.Millisecond
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"MinConns", c.MinConns, 16}, {"MaxConns", c.MaxConns, 32},
		{"MaxConcurrentStreams", c.MaxConcurrentStreams, 100}, {"MaxWaiters", c.MaxWaiters, 4096},
		{"AcquireTimeout", c.AcquireTimeout, time.Duration(0)}, {"RequestTimeout", c.RequestTimeout, 5000 * ms},
		{"DialTimeout", c.DialTimeout, 150 * ms},
		{"Keepalive.Time", c.Keepalive.Time, 30 * time.Second}, {"Keepalive.Timeout", c.Keepalive.Timeout, 10 * time.Second},
		{"Keepalive.PermitWithoutStream", c.Keepalive.PermitWithoutStream, true},
		{"Reconnect.Initial", c.Reconnect.Initial, 25 * ms}, {"Reconnect.Max", c.Reconnect.Max, 200 * ms},
		{"Reconnect.Multiplier", c.Reconnect.Multiplier, 2.0}, {"Reconnect.Jitter", c.Reconnect.Jitter, 0.2},
		{"Reconnect.Budget", c.Reconnect.Budget, 200 * ms},
		{"Health.Interval", c.Health.Interval, 1000 * ms}, {"Health.Timeout", c.Health.Timeout, 50 * ms},
		{"Health.FailureThreshold", c.Health.FailureThreshold, 3}, {"Health.Cooldown", c.Health.Cooldown, 1000 * ms},
		{"Health.Disabled", c.Health.Disabled, false},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %v; want %v", tt.name, tt.got, tt.want)
		}
	}
}
