package attestation

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// start serves attested TLS with what attest says, and connects a pool that trusts a.
func start(t *testing.T, creds credentials.TransportCredentials, p Policy) (*pool.Pool, *pooltest.Enclave) {
	t.Helper()
	e := pooltest.Start(t, nil, pooltest.WithServerOptions(grpc.Creds(creds)))
	return connect(t, e.Target(), p), e
}

func connect(t *testing.T, target string, p Policy, opts ...pool.Option) *pool.Pool {
	t.Helper()
	cfg := pool.DefaultConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: target}}
	cfg.MinConns, cfg.MaxConns = 2, 4
	cfg.DialTimeout, cfg.Health.Timeout = 10*time.Second, 10*time.Second
	opts = append(append(PoolOptions(p), pool.WithLogger(slog.New(slog.DiscardHandler))), opts...)
	pl, err := pool.New(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = pl.Close(ctx) // it says what it has cut
	})
	return pl
}

// verdict waits for what becomes of the first attempts: nil, or why there is no connection.
func verdict(t *testing.T, p *pool.Pool) error {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-tick.C {
		switch s := p.Stats().Enclaves["a"]; {
		case s.HealthyConns >= 2:
			return nil
		case s.Cause != nil:
			return s.Cause
		}
	}
	t.Fatal("nothing has come of it")
	return nil
}

func newCredentials(t *testing.T, attest func(userData, nonce []byte) ([]byte, error)) *Credentials {
	t.Helper()
	c, err := NewCredentials(attest)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// honestly is what an honest enclave has attested.
func honestly(a *Authority) func(userData, nonce []byte) ([]byte, error) {
	return func(userData, nonce []byte) ([]byte, error) {
		d := good()
		d.UserData, d.Nonce = userData, nonce
		return a.Attest(d)
	}
}

func TestAnHonestEnclaveIsAdmittedAndItsConnectionsComeBack(t *testing.T) {
	a := newAuthority(t, time.Now())
	var nonces sync.Map
	var made, repeated atomic.Int64
	honest := honestly(a)
	p, e := start(t, newCredentials(t, func(userData, nonce []byte) ([]byte, error) {
		made.Add(1)
		if _, again := nonces.LoadOrStore(string(nonce), true); again {
			repeated.Add(1)
		}
		return honest(userData, nonce)
	}), trusting(a))
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if err := p.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := healthpb.NewHealthClient(p.Conn("a")).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
			t.Error(err)
		}
		before := e.Accepted()
		e.DropConns(2)
		for end := time.Now().Add(30 * time.Second); e.Accepted() < before+2 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
	if made.Load() < 6 || repeated.Load() != 0 {
		t.Errorf("%d documents, %d for a nonce that had been there", made.Load(), repeated.Load())
	}
}

func TestEveryImpostorIsRefusedBeforeItHearsAWord(t *testing.T) {
	now := time.Now()
	a := newAuthority(t, now)
	honest := newCredentials(t, honestly(a))
	expired, err := a.Another(now.Add(-4 * time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		attest func(userData, nonce []byte) ([]byte, error)
		want   error
	}{
		"other code": {func(userData, nonce []byte) ([]byte, error) {
			d := good()
			d.PCRs[0], d.UserData, d.Nonce = measurement(0xB2), userData, nonce
			return a.Attest(d)
		}, ErrCode},
		"a document of another connection": {func(userData, _ []byte) ([]byte, error) {
			return honestly(a)(userData, make([]byte, nonceSize))
		}, ErrStale},
		"a document for the honest enclave's key":     {func(_, nonce []byte) ([]byte, error) { return honestly(a)(honest.key, nonce) }, ErrKey},
		"an authority of its own":                     {honestly(newAuthority(t, now)), ErrChain},
		"a hypervisor's certificate that has expired": {honestly(expired), ErrChain},
		"a changed document": {func(userData, nonce []byte) ([]byte, error) {
			b, err := honestly(a)(userData, nonce)
			if err == nil {
				b[len(b)-1] ^= 1
			}
			return b, err
		}, ErrSignature},
		"garbage": {func(_, _ []byte) ([]byte, error) { return []byte(strings.Repeat("junk", 1000)), nil }, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int64
			count := grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				calls.Add(1)
				return next(ctx, req)
			})
			e := pooltest.Start(t, nil, pooltest.WithServerOptions(grpc.Creds(newCredentials(t, tt.attest)), count))
			p := connect(t, e.Target(), trusting(a))
			if err := verdict(t, p); !errors.Is(err, tt.want) || !errors.Is(err, pool.ErrPeerRejected) {
				t.Errorf("the cause is %v; want %v and ErrPeerRejected", err, tt.want)
			}
			if n := calls.Load(); n != 0 {
				t.Errorf("it got %d calls, health checks included", n)
			}
		})
	}
}

// Two processes, as far as the authority is concerned.
func TestAnAuthoritySavedInOneProcessIsTrustedInAnother(t *testing.T) {
	a := newAuthority(t, time.Now())
	path := filepath.Join(t.TempDir(), "authority.pem")
	if err := a.Save(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want it readable by this user alone", info.Mode(), err)
	}
	if err := a.Save(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Save over a file: %v", err)
	}
	b, err := LoadAuthority(path)
	if err != nil {
		t.Fatal(err)
	}
	policy := trusting(a)
	policy.PCRs = map[int][]byte{0: Measure("signer")}
	policy.ModuleID = "m"
	p, _ := start(t, newCredentials(t, b.Enclave("m", "signer")), policy)
	if err := verdict(t, p); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAuthority(path); err == nil {
		t.Error("junk was loaded")
	}
}

// Somebody in between has the honest enclave attest, and passes its document on. It speaks TLS on both sides, with a key
// of its own on this one, and even with the enclave's.
func TestADocumentThatIsPassedOnIsRefused(t *testing.T) {
	a := newAuthority(t, time.Now())
	honest := newCredentials(t, honestly(a))
	enclave := pooltest.Start(t, nil, pooltest.WithServerOptions(grpc.Creds(honest)))
	passOn := func(_, _ []byte) ([]byte, error) {
		raw, err := net.Dial("unix", strings.TrimPrefix(enclave.Target(), "unix:"))
		if err != nil {
			return nil, err
		}
		defer raw.Close()
		c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}})
		return ReadDocument(c)
	}
	for name, between := range map[string]*Credentials{
		"with a key of its own":  newCredentials(t, passOn),
		"with the enclave's key": {honest.TransportCredentials, honest.certificates, passOn, honest.key},
	} {
		p, _ := start(t, between, trusting(a))
		if err := verdict(t, p); !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsNoAttestedTLSIsRefused(t *testing.T) {
	a := newAuthority(t, time.Now())
	creds := newCredentials(t, honestly(a))
	old := tlsConfig(creds)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, server := range map[string]credentials.TransportCredentials{
		"TLS 1.2":          credentials.NewTLS(old),
		"no TLS":           nil,
		"no document":      credentials.NewTLS(tlsConfig(creds)), // the server's SETTINGS are where it should be
		"an oversized one": oversized{creds},
	} {
		t.Run(name, func(t *testing.T) {
			var opts []pooltest.Option
			if server != nil {
				opts = append(opts, pooltest.WithServerOptions(grpc.Creds(server)))
			}
			e := pooltest.Start(t, nil, opts...)
			if err := verdict(t, connect(t, e.Target(), trusting(a))); !errors.Is(err, pool.ErrPeerRejected) {
				t.Errorf("the cause is %v", err)
			}
		})
	}
	// Plaintext credentials beside the policy: it wants TLS whatever the pool is given.
	e := pooltest.Start(t, nil)
	p, err := pool.New(configOf(e), pool.WithPeerVerifier(trusting(a).Verify), pool.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(t.Context()) })
	if err := verdict(t, p); !errors.Is(err, pool.ErrPeerRejected) {
		t.Errorf("without TLS: %v", err)
	}
}

func configOf(e *pooltest.Enclave) pool.Config {
	cfg := pool.DefaultConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: e.Target()}}
	cfg.DialTimeout = 10 * time.Second
	return cfg
}

// tlsConfig is TLS with the key of c, and nothing said ahead of HTTP/2.
func tlsConfig(c *Credentials) *tls.Config {
	return &tls.Config{Certificates: c.certificates, MinVersion: tls.VersionTLS13}
}

// oversized announces more than it may.
type oversized struct{ *Credentials }

func (o oversized) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := o.TransportCredentials.ServerHandshake(raw)
	if err == nil {
		_, err = io.WriteString(c, "\xff\xff"+strings.Repeat("x", 1000))
	}
	return c, info, err
}

func (o oversized) Clone() credentials.TransportCredentials { return o }
