package pool_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/vsock"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/internal/target"
	"github.com/enclavepool/enclavepool/pool"
)

// vsockEnclave serves s on AF_VSOCK, on this machine's loopback CID. The test
// skips where there is none, unless ENCLAVEPOOL_VSOCK=required.
func vsockEnclave(t *testing.T, s *service, address string, opts ...grpc.ServerOption) (stop func()) {
	t.Helper()
	at, err := target.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	lis, err := at.Listen()
	if err == nil {
		var probe net.Conn
		if probe, err = at.Dial(within(t, 3*time.Second)); err == nil {
			probe.Close()
		} else {
			lis.Close()
		}
	}
	if err != nil {
		if os.Getenv("ENCLAVEPOOL_VSOCK") == "required" {
			t.Fatal(err)
		}
		t.Skipf("this machine cannot open AF_VSOCK to itself: %v", err)
	}
	srv := grpc.NewServer(opts...)
	s.register(srv)
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	var stopped bool
	stop = func() {
		if !stopped {
			stopped = true
			srv.Stop()
			<-served
		}
	}
	t.Cleanup(stop)
	return stop
}

// vsockConfig gives an emulated machine time: what is tested is the transport.
func vsockConfig(address string) pool.Config {
	cfg := pool.DefaultConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: address}}
	cfg.MinConns, cfg.MaxConns = 4, 4
	cfg.DialTimeout, cfg.Health.Timeout = 5*time.Second, 2*time.Second
	return cfg
}

func TestVsockCarriesEveryKindOfCall(t *testing.T) {
	const address = "vsock:1:7301"
	vsockEnclave(t, &service{}, address)
	p := newPool(t, vsockConfig(address))
	ready(t, p)
	everyKindOfCall(within(t, patience), t, client(p, "a"))
	// More than one write to the kernel can be.
	big := body(1 << 20)
	res, err := client(p, "a").UnaryCall(within(t, patience), &grpc_testing.SimpleRequest{Payload: big})
	if err != nil || len(res.Payload.Body) != len(big.Body) {
		t.Errorf("1 MiB: %d bytes back, %v", len(res.GetPayload().GetBody()), err)
	}
	if err := p.Close(within(t, patience)); err != nil {
		t.Error(err)
	}
}

func TestVsockListenerThatGoesAndComesBackIsRecoveredFrom(t *testing.T) {
	const address = "vsock:1:7302"
	stop := vsockEnclave(t, &service{}, address)
	p := newPool(t, vsockConfig(address))
	ready(t, p)
	for range 3 {
		stop()
		eventually(t, "every connection is lost", func() bool { return stats(p, "a").HealthyConns == 0 })
		eventually(t, "callers fail fast", func() bool {
			_, err := client(p, "a").EmptyCall(within(t, patience), &grpc_testing.Empty{})
			return errors.Is(err, pool.ErrUnavailable) && errors.Is(err, syscall.ECONNRESET)
		})
		stop = vsockEnclave(t, &service{}, address)
		ready(t, p)
		everyKindOfCall(within(t, patience), t, client(p, "a"))
	}
}

func TestVsockWithoutAListenerOrAnEnclaveSaysSo(t *testing.T) {
	stop := vsockEnclave(t, &service{}, "vsock:1:7303") // skips where there is no vsock
	stop()
	for address, errno := range map[string]syscall.Errno{
		"vsock:1:7303":     syscall.ECONNRESET,
		"vsock:12345:7303": syscall.ENODEV,
	} {
		p := newPool(t, vsockConfig(address))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if err := p.Ready(ctx); !errors.Is(err, errno) {
			t.Errorf("%s: Ready = %v, want %v", address, err, errno)
		}
		cancel()
	}
}

func TestVsockCarriesMutualTLS13AndItsPeersAreVerified(t *testing.T) {
	const address = "vsock:1:7304"
	serverTLS, clientTLS := mutual(t, newAuthority(t))
	vsockEnclave(t, &service{}, address, grpc.Creds(credentials.NewTLS(serverTLS)))
	trusting := pool.WithTransportCredentials(credentials.NewTLS(clientTLS))
	verify := func(_ context.Context, peer pool.PeerInfo) error {
		if a, ok := peer.Addr.(*vsock.Addr); !ok || a.ContextID != 1 || a.Port != 7304 {
			return fmt.Errorf("%w: its address is %v", errStranger, peer.Addr)
		}
		if peer.TLS == nil || peer.TLS.Version != tls.VersionTLS13 || peer.Unix != nil {
			return fmt.Errorf("%w: %+v", errStranger, peer)
		}
		return nil
	}
	p := newPool(t, vsockConfig(address), trusting, pool.WithPeerVerifier(verify), pool.WithUnixPeer(pool.UnixPeer{}))
	ready(t, p)
	everyKindOfCall(within(t, patience), t, client(p, "a"))
	big := body(1 << 20)
	res, err := client(p, "a").UnaryCall(within(t, patience), &grpc_testing.SimpleRequest{Payload: big})
	if err != nil || len(res.Payload.Body) != len(big.Body) {
		t.Errorf("1 MiB: %d bytes back, %v", len(res.GetPayload().GetBody()), err)
	}

	_, strangers := mutual(t, newAuthority(t))
	for name, opts := range map[string][]pool.Option{
		"a certificate it does not know":    {pool.WithTransportCredentials(credentials.NewTLS(strangers))},
		"no TLS":                            nil,
		"a verifier that knows another":     {trusting, pool.WithPeerVerifier(func(context.Context, pool.PeerInfo) error { return errStranger })},
		"no certificate of ours to show it": {pool.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: clientTLS.RootCAs}))},
	} {
		p := newPool(t, vsockConfig(address), opts...)
		eventually(t, name+": an attempt has failed", func() bool { return stats(p, "a").Cause != nil })
		if s := stats(p, "a"); s.HealthyConns != 0 || name != "no TLS" && !errors.Is(s.Cause, pool.ErrPeerRejected) {
			t.Errorf("%s: %d Healthy, cause %v", name, s.HealthyConns, s.Cause)
		}
	}
}
