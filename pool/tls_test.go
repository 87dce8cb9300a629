package pool_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
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
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := &authority{}
	der := a.sign(tb, &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true}, &a.key)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	return a
}

// sign makes a certificate and its key; an authority without one signs itself.
func (a *authority) sign(tb testing.TB, template *x509.Certificate, key **ecdsa.PrivateKey) []byte {
	tb.Helper()
	var err error
	if *key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		tb.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // a bubble's clock starts in 2000
	template.NotAfter = time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, *key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &(*key).PublicKey, signer)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func (a *authority) issue(tb testing.TB, name string) tls.Certificate {
	var key *ecdsa.PrivateKey
	der := a.sign(tb, &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}}, &key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// mutual is both ends' side of mutual TLS 1.3 under one authority.
func mutual(tb testing.TB, a *authority) (server, client *tls.Config) {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.issue(tb, "localhost")},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.roots()},
		&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.issue(tb, "gateway")}, RootCAs: a.roots()}
}

// Both ends get new certificates from a new authority, step by step as an
// operator would do it; after each step new connections come about and work.
func TestCertificatesAndRootsRotateWithoutARestart(t *testing.T) {
	old, next := newAuthority(t), newAuthority(t)
	var server, client atomic.Pointer[tls.Config]
	serverTLS, clientTLS := mutual(t, old)
	server.Store(serverTLS)
	client.Store(clientTLS)
	both := x509.NewCertPool()
	both.AddCert(old.cert)
	both.AddCert(next.cert)

	var seen atomic.Pointer[tls.ConnectionState]
	svc := &service{seen: func(ctx context.Context) {
		p, _ := peer.FromContext(ctx)
		state := p.AuthInfo.(credentials.TLSInfo).State
		seen.Store(&state)
	}}
	e := pooltest.Start(t, svc.register, pooltest.WithServerOptions(grpc.Creds(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return server.Load(), nil }}))))
	var issuer atomic.Pointer[x509.Certificate]
	cfg := socketConfig(e)
	cfg.MinConns, cfg.MaxConns = 4, 4
	p := newPool(t, cfg, pool.WithTransportCredentials(newRotating(&client)), pool.WithPeerVerifier(func(_ context.Context, peer pool.PeerInfo) error {
		issuer.Store(peer.TLS.PeerCertificates[0])
		return nil
	}))
	ready(t, p)
	renew := func() {
		t.Helper()
		accepted := e.Accepted()
		e.DropConns(4)
		eventually(t, "new connections are there", func() bool {
			return e.Accepted() >= accepted+4 && stats(p, "a").HealthyConns == 4
		})
		everyKindOfCall(within(t, patience), t, grpc_testing.NewTestServiceClient(p.Conn("a")))
	}
	change := func(at *atomic.Pointer[tls.Config], how func(*tls.Config)) {
		c := at.Load().Clone()
		how(c)
		at.Store(c)
		renew()
	}
	renew()
	// Trust both, present the new, trust the new alone.
	change(&server, func(c *tls.Config) { c.ClientCAs = both })
	change(&client, func(c *tls.Config) { c.RootCAs = both })
	change(&server, func(c *tls.Config) { c.Certificates = []tls.Certificate{next.issue(t, "localhost")} })
	change(&client, func(c *tls.Config) { c.Certificates = []tls.Certificate{next.issue(t, "gateway")} })
	change(&server, func(c *tls.Config) { c.ClientCAs = next.roots() })
	change(&client, func(c *tls.Config) { c.RootCAs = next.roots() })

	if state := seen.Load(); state.Version != tls.VersionTLS13 || state.PeerCertificates[0].CheckSignatureFrom(next.cert) != nil {
		t.Errorf("the enclave saw TLS %x and a certificate of %v", state.Version, state.PeerCertificates[0].Issuer)
	}
	if err := issuer.Load().CheckSignatureFrom(next.cert); err != nil {
		t.Errorf("the pool saw another authority's certificate: %v", err)
	}
	if s := stats(p, "a"); s.Ejections != 0 {
		t.Errorf("%d ejections", s.Ejections)
	}
	// The old ones are worth nothing any more, on either side.
	client.Store(clientTLS)
	e.DropConns(4)
	eventually(t, "the old roots are refused", func() bool { s := stats(p, "a"); return s.HealthyConns == 0 && s.Cause != nil })
}

// tlsPool is memoryPool under mutual TLS.
func tlsPool(t *testing.T, s *service, change func(*pool.Config)) (*pool.Pool, *pooltest.Enclave) {
	serverTLS, clientTLS := mutual(t, newAuthority(t))
	e := pooltest.NewMemory(t, s.register, pooltest.WithServerOptions(grpc.Creds(credentials.NewTLS(serverTLS))))
	cfg := config(e)
	if change != nil {
		change(&cfg)
	}
	p := newPool(t, cfg, pool.WithDialer(e.Dialer()), pool.WithTransportCredentials(credentials.NewTLS(clientTLS)))
	ready(t, p)
	return p, e
}

// Fault 4, under TLS: the socket is closed below it, so that nobody waits for a
// farewell that a frozen peer does not read.
func TestAFrozenTLSPeerIsEjectedAsSoonAsAPlaintextOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		// One stream each, so that there is a call on either connection.
		p, e := tlsPool(t, svc, func(cfg *pool.Config) { cfg.MaxConns, cfg.MaxConcurrentStreams = cfg.MinConns, 1 })
		calls := []<-chan error{begun(t, p.Conn("a")), begun(t, p.Conn("a"))}
		e.Freeze()
		start := time.Now()
		for i, c := range calls {
			err := <-c
			if took := time.Since(start); status.Code(err) != codes.Unavailable || took > 260*time.Millisecond {
				t.Errorf("call %d after %v: %v; want Unavailable within 250ms, and 10ms more", i, took, err)
			}
		}
		synctest.Wait()
		if s := stats(p, "a"); s.HealthyConns != 0 || s.Ejections != 2 || s.State != breaker.Degraded {
			t.Errorf("%d Healthy, %d ejections, %v", s.HealthyConns, s.Ejections, s.State)
		}
		close(svc.hold)
		e.Thaw()
		ready(t, p)
		everyKindOfCall(t.Context(), t, client(p, "a"))
	})
}

// Fault 5, under TLS: buffers are full of what a frozen peer does not take.
func TestCloseWaitsForNoFrozenTLSPeer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, e := tlsPool(t, &service{}, func(cfg *pool.Config) { cfg.Health.Disabled = true })
		e.Freeze()
		var calls []<-chan error
		for range 8 {
			done := make(chan error, 1)
			go func() {
				_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{Payload: body(1 << 20)})
				done <- err
			}()
			calls = append(calls, done)
		}
		synctest.Wait()
		start := time.Now()
		if err := p.Close(expired()); err == nil {
			t.Error("Close cut calls and said nothing")
		}
		if took := time.Since(start); took > 50*time.Millisecond {
			t.Errorf("Close took %v", took)
		}
		for _, c := range calls {
			if err := <-c; status.Code(err) != codes.Unavailable {
				t.Errorf("a call that was cut: %v; want Unavailable", err)
			}
		}
	})
}

func TestTheTapReadsLimitAndResetsUnderTLS(t *testing.T) {
	serverTLS, clientTLS := mutual(t, newAuthority(t))
	trusting := pool.WithTransportCredentials(credentials.NewTLS(clientTLS))
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register, pooltest.WithMaxConcurrentStreams(5),
			pooltest.WithServerOptions(grpc.Creds(credentials.NewTLS(serverTLS))))
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()), trusting)
		ready(t, p)
		if s := stats(p, "a"); s.Capacity != 2*4 {
			t.Errorf("capacity %d; want 2 connections of 5 streams, less the probes'", s.Capacity)
		}
	})
	var enclave refuser
	cfg := socketConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "refuser"}}
	cfg.Health.Disabled = true
	h2 := serverTLS.Clone()
	h2.NextProtos = []string{"h2"}
	p := newPool(t, cfg, trusting, pool.WithDialer(func(context.Context, string) (net.Conn, error) {
		client, server := net.Pipe()
		go enclave.serve(tls.Server(server, h2))
		return client, nil
	}))
	ready(t, p)
	for range 10 {
		if _, err := client(p, "a").EmptyCall(within(t, patience), &grpc_testing.Empty{}); status.Code(err) != codes.Unavailable {
			t.Errorf("refused call: %v", err)
		}
	}
	if s := stats(p, "a"); s.StreamResets < 10 || s.StreamResets != enclave.refused.Load() {
		t.Errorf("%d resets counted, %d sent", s.StreamResets, enclave.refused.Load())
	}
}
