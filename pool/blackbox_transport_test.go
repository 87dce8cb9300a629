package pool_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// tlsConfigs returns a server's side with a fresh certificate for name, and the
// client's side that trusts it alone.
func tlsConfigs(tb testing.TB, name string) (server, client *tls.Config) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		// A bubble's clock starts in 2000.
		NotBefore:             time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13},
		&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
}

func TestTLSWorksFromEndToEndAndChecksTheAuthority(t *testing.T) {
	for _, tt := range []struct {
		certificate, authority string
		trusted                bool
	}{
		{"localhost", "", true},
		{"signer.internal", "signer.internal", true},
		{"signer.internal", "", false}, // localhost is not what it is for
		{"localhost", "signer.internal", false},
	} {
		t.Run(tt.certificate+" asked as "+tt.authority, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				serverTLS, clientTLS := tlsConfigs(t, tt.certificate)
				var secured atomic.Bool
				svc := &service{seen: func(ctx context.Context) {
					p, _ := peer.FromContext(ctx)
					_, ok := p.AuthInfo.(credentials.TLSInfo)
					secured.Store(ok)
				}}
				e := pooltest.NewMemory(t, svc.register, pooltest.WithServerOptions(grpc.Creds(credentials.NewTLS(serverTLS))))
				cfg := config(e)
				cfg.Enclaves[0].Authority = tt.authority
				p := newPool(t, cfg, pool.WithDialer(e.Dialer()), pool.WithTransportCredentials(credentials.NewTLS(clientTLS)))
				if !tt.trusted {
					err := p.Ready(within(t, 3*time.Second))
					var bad x509.HostnameError
					if !errors.As(err, &bad) {
						t.Errorf("Ready: %v; want it to name the certificate's mismatch", err)
					}
					if n := stats(p, "a").HealthyConns; n != 0 {
						t.Errorf("%d connections were admitted", n)
					}
					if !errors.Is(err, pool.ErrPeerRejected) {
						t.Errorf("Ready: %v; want ErrPeerRejected among the causes", err)
					}
					return
				}
				ready(t, p)
				everyKindOfCall(t.Context(), t, client(p, "a"))
				if !secured.Load() {
					t.Error("the enclave saw no TLS")
				}
				e.DropConns(1)
				synctest.Wait()
				ready(t, p)
				everyKindOfCall(t.Context(), t, client(p, "a"))
			})
		})
	}
}

func TestTheAuthorityIsLocalhostOrAsConfigured(t *testing.T) {
	for _, tt := range []struct{ configured, want string }{{"", "localhost"}, {"signer.internal", "signer.internal"}} {
		seen := make(chan []string, 1)
		svc := &service{seen: func(ctx context.Context) { seen <- metadata.ValueFromIncomingContext(ctx, ":authority") }}
		e := pooltest.Start(t, svc.register)
		cfg := socketConfig(e)
		cfg.Enclaves[0].Authority = tt.configured
		// One among the dial options is overridden by the pool's.
		p := newPool(t, cfg, pool.WithDialOptions(grpc.WithAuthority("other")))
		if _, err := client(p, "a").EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; len(got) != 1 || got[0] != tt.want {
			t.Errorf("authority %q: the enclave sees %q; want %q", tt.configured, got, tt.want)
		}
	}
}

// pingCounter counts the HTTP/2 PING frames that the pool sends of itself. Each
// is a write of its own on a connection that is otherwise silent.
type pingCounter struct {
	net.Conn
	pings *atomic.Int64
}

func (c pingCounter) Write(p []byte) (int, error) {
	const header, typePing, flagAck = 9, 0x6, 0x1
	if len(p) == header+8 && p[3] == typePing && p[4]&flagAck == 0 {
		c.pings.Add(1)
	}
	return c.Conn.Write(p)
}

func TestKeepalivePingsSilentConnections(t *testing.T) {
	for _, tt := range []struct {
		name     string
		interval time.Duration
		want     int64 // in ten minutes, on two connections
	}{
		{"every 30 s", 30 * time.Second, 2 * 20},
		{"every 60 s", 60 * time.Second, 2 * 10},
		{"off", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var pings atomic.Int64
				e := pooltest.NewMemory(t, (&service{}).register)
				dial := e.Dialer()
				cfg := config(e)
				cfg.Keepalive.Time = tt.interval
				cfg.Health.Disabled = true
				p := newPool(t, cfg, pool.WithDialer(func(ctx context.Context, target string) (net.Conn, error) {
					c, err := dial(ctx, target)
					if err != nil {
						return nil, err
					}
					return pingCounter{c, &pings}, nil
				}))
				ready(t, p)
				time.Sleep(10*time.Minute + time.Second)
				if got := pings.Load(); got < tt.want-2 || got > tt.want {
					t.Errorf("%d pings in ten minutes; want %d", got, tt.want)
				}
				if s := stats(p, "a"); s.HealthyConns != 2 || s.Dials != 2 {
					t.Errorf("%d healthy, %d dials; want 2, 2: the enclave allows these pings", s.HealthyConns, s.Dials)
				}
			})
		})
	}
}

func TestKeepaliveFindsAFrozenEnclaveWhereProbesAreOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := memoryPool(t, &service{}, func(cfg *pool.Config) { cfg.Health.Disabled = true })
		e.Freeze()
		time.Sleep(41 * time.Second)
		if n := stats(p, "a").HealthyConns; n != 0 {
			t.Errorf("%d connections to a frozen enclave are still Healthy", n)
		}
		e.Thaw()
		ready(t, p)
	})
}

func TestWithDialerGetsTheTargetAsItStands(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register)
		dial := e.Dialer()
		const target = "any text: %/?# at all"
		var others atomic.Int64
		cfg := config(e)
		cfg.Enclaves[0].Target = target
		p := newPool(t, cfg, pool.WithDialer(func(ctx context.Context, got string) (net.Conn, error) {
			if got != target {
				others.Add(1)
			}
			return dial(ctx, e.Target())
		}))
		ready(t, p)
		everyKindOfCall(t.Context(), t, client(p, "a"))
		if others.Load() != 0 || e.Accepted() != 2 {
			t.Errorf("%d dials of something else, %d connections; want 0, 2", others.Load(), e.Accepted())
		}
	})
}

func TestAnAttemptEndsWithItsDialTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const timeout = 70 * time.Millisecond
		var longest atomic.Int64
		cfg := pool.DefaultConfig()
		cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "nowhere"}}
		cfg.DialTimeout = timeout
		p := newPool(t, cfg, pool.WithDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			start := time.Now()
			<-ctx.Done()
			if took := int64(time.Since(start)); took > longest.Load() {
				longest.Store(took)
			}
			return nil, ctx.Err()
		}))
		err := p.Ready(within(t, 2*time.Second))
		poolErrs := poolErrors(err)
		if len(poolErrs) != 1 || poolErrs[0].EnclaveID != "a" {
			t.Errorf("Ready: %v", err)
		}
		if got := time.Duration(longest.Load()); got != timeout {
			t.Errorf("the longest attempt took %v; want %v", got, timeout)
		}
		if n := stats(p, "a").Dials; n < 16 {
			t.Errorf("%d dials in 2s; want more", n)
		}
	})
}

func TestAFrozenHandshakeIsGivenUpAndTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register)
		e.Freeze() // accepts, and then hangs
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
		start := time.Now()
		_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable)
		if took := time.Since(start); took > 250*time.Millisecond {
			t.Errorf("failed after %v; want about the budget of 200ms", took)
		}
		time.Sleep(5 * time.Second)
		if n := stats(p, "a").Dials; n < 10 {
			t.Errorf("%d dials in 5s; want one after another", n)
		}
		thawed := time.Now()
		e.Thaw()
		ready(t, p)
		if took := time.Since(thawed); took > 200*time.Millisecond {
			t.Errorf("ready %v after the thaw; want 200ms at most", took)
		}
	})
}
