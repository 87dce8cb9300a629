package pool_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/enclavepool/enclavepool/pool"
)

// What a deployment knows of its enclaves: here who may listen at their sockets,
// elsewhere the hash of a key, or the measurements in an attestation document
// (examples/internal/attestation is a complete one).
func ExampleWithPeerVerifier() {
	target, stop := startEnclave(&signer{})
	defer stop()
	impostor, stopImpostor := startEnclave(&signer{})
	defer stopImpostor()

	cfg := exampleConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: target}, {ID: "b", Target: impostor}}
	p, err := pool.New(cfg, quiet, pool.WithPeerVerifier(func(ctx context.Context, peer pool.PeerInfo) error {
		if peer.Addr.String() != target[len("unix:"):] { // ctx ends with the attempt
			return fmt.Errorf("%s: not the enclave that was meant", peer.EnclaveID)
		}
		return nil
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	a, err := p.Acquire(ctx, "a")
	fmt.Println("a:", err)
	a.Release()
	_, err = p.Acquire(ctx, "b")
	fmt.Println("b: rejected:", errors.Is(err, pool.ErrPeerRejected))
	// Output:
	// a: <nil>
	// b: rejected: true
}

// TLS that trusts one key and no authority. The certificate is verified by
// nothing else here, so the verifier has to look at it whatever happens.
func ExampleWithPeerVerifier_pinnedKey() {
	var pinned [sha256.Size]byte // of the enclave's SubjectPublicKeyInfo
	verify := func(_ context.Context, peer pool.PeerInfo) error {
		if peer.TLS == nil || len(peer.TLS.PeerCertificates) == 0 {
			return errors.New("no certificate")
		}
		if sha256.Sum256(peer.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo) != pinned {
			return errors.New("another key")
		}
		return nil
	}
	cfg := pool.DefaultConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "vsock:16:5000"}}
	p, err := pool.New(cfg, pool.WithPeerVerifier(verify), pool.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // the verifier does
	})))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(context.Background())
}

// The vsock proxy runs as user 995, and nobody else may listen in its place.
func ExampleWithUnixPeer() {
	cfg := pool.DefaultConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "unix:/run/vsock-proxy/a.sock"}}
	p, err := pool.New(cfg, quiet, pool.WithUnixPeer(pool.UnixPeer{UIDs: []uint32{995}}))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(context.Background())
}

// rotating is TLS whose settings are read for every connection: certificates,
// keys and roots change without a restart.
type rotating struct {
	credentials.TransportCredentials
	now *atomic.Pointer[tls.Config]
}

func newRotating(now *atomic.Pointer[tls.Config]) rotating {
	return rotating{credentials.NewTLS(now.Load()), now}
}

func (r rotating) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(r.now.Load()).ClientHandshake(ctx, authority, raw)
}

func (r rotating) Clone() credentials.TransportCredentials { return newRotating(r.now) }

// Certificates that change while the pool runs. Connections keep what they were
// made with, and MaxConnAge says for how long at most.
func ExampleWithTransportCredentials_rotation() {
	var settings atomic.Pointer[tls.Config]
	settings.Store(&tls.Config{MinVersion: tls.VersionTLS13}) // with RootCAs and Certificates, from files
	cfg := pool.DefaultConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "vsock:16:5000"}}
	cfg.MaxConnAge = time.Hour
	p, err := pool.New(cfg, quiet, pool.WithTransportCredentials(newRotating(&settings)))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(context.Background())

	settings.Store(&tls.Config{MinVersion: tls.VersionTLS13}) // the new ones; every new connection has them
}
