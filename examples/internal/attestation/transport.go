package attestation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/enclavepool/enclavepool/pool"
)

// label names the exporter; RFC 5705, section 4, leaves labels with this prefix to everybody.
const label = "EXPERIMENTAL enclavepool attestation"

// nonceSize is that of the tls-exporter channel binding, RFC 9266.
const nonceSize = 32

// connectionNonce is the nonce that a document for this connection has: both ends derive it, nobody sends it. It has the
// caller's fresh random and key share in it, and the certificate that was shown, since in TLS 1.3 it is a function of
// the whole handshake.
func connectionNonce(state *tls.ConnectionState) ([]byte, error) {
	nonce, err := state.ExportKeyingMaterial(label, nil, nonceSize)
	if err != nil {
		return nil, fmt.Errorf("attestation: exporter: %w", err)
	}
	return nonce, nil
}

// Credentials are an enclave's: TLS 1.3 with a key of its own, and a document ahead of HTTP/2.
//
// The document has to be fresh, so a nonce of the caller's has to reach the enclave before any call. Three ways were
// weighed:
//
//   - A nonce in a field of the ClientHello (SNI, ALPN) abuses the field, and is seen and replaced by whoever is in between.
//   - An exchange ahead of TLS (nonce, document, then a handshake with the key that the document names) is sound only as far
//     as that key is never anywhere else. Whoever gets one honest document and the key once can be that enclave for ever.
//   - After the handshake, with what RFC 5705 and RFC 8446, section 7.5, export from it as the nonce, the document is about
//     this one connection: made in advance, or for another connection, it is worth nothing. Whoever relays between a
//     caller and an honest enclave has two connections with two exporters, even if it had the enclave's TLS key. RFC 9266
//     defines the same value for TLS 1.3 as a channel binding. No message goes to the enclave, so it costs no round trip: the
//     document follows the enclave's Finished.
//
// The third it is. The key's hash is in the document as well: the exporter makes it redundant, but it is what others check
// who get to see the document, and one mistake is then not enough.
type Credentials struct {
	credentials.TransportCredentials
	certificates []tls.Certificate
	attest       func(userData, nonce []byte) ([]byte, error)
	key          []byte // its hash
}

// NewCredentials makes a key that never leaves this process, and a certificate that says nothing but the key. attest asks
// the hypervisor; it is asked for every connection.
func NewCredentials(attest func(userData, nonce []byte) ([]byte, error)) (*Credentials, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	certificates := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}}
	return &Credentials{
		TransportCredentials: credentials.NewTLS(&tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS13}),
		certificates:         certificates, attest: attest, key: KeyHash(cert),
	}, nil
}

// ServerHandshake implements credentials.TransportCredentials.
func (c *Credentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	state := info.(credentials.TLSInfo).State // it was made in NewCredentials
	nonce, err := connectionNonce(&state)
	if err != nil {
		return nil, nil, err
	}
	document, err := c.attest(c.key, nonce)
	if err == nil {
		err = writeDocument(conn, document)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("attesting: %w", err)
	}
	return conn, info, nil
}

// Clone implements credentials.TransportCredentials.
func (c *Credentials) Clone() credentials.TransportCredentials {
	return &Credentials{c.TransportCredentials.Clone(), c.certificates, c.attest, c.key}
}

// writeDocument writes two bytes of length, most significant first, and the document.
func writeDocument(w io.Writer, document []byte) error {
	if len(document) > MaxDocument {
		return fmt.Errorf("a document of %d bytes: want at most %d", len(document), MaxDocument)
	}
	_, err := w.Write(append([]byte{byte(len(document) >> 8), byte(len(document))}, document...))
	return err
}

// PoolOptions make a pool talk attested TLS. They belong together: the TLS checks no certificate, since no authority
// could know a key that an enclave has just made; the policy does.
func PoolOptions(p Policy) []pool.Option {
	return []pool.Option{
		pool.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			MinVersion:         tls.VersionTLS13,
			InsecureSkipVerify: true, // Policy.Verify does, and more
		})),
		pool.WithPeerVerifier(p.Verify),
	}
}
