package attestation

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/veraison/go-cose"

	"github.com/enclavepool/enclavepool/pool"
)

// Policy is which enclaves are let in.
type Policy struct {
	// Roots are the authorities of hypervisors: Amazon's "aws.nitro-enclaves" root, or an Authority's Root.
	Roots *x509.CertPool
	// PCRs are measurements that have to be as given, 48 bytes each, by index: 0 is the image, 1 the kernel, 2 the
	// application, 8 the certificate that signed the image. At least one; nobody is let in otherwise.
	PCRs map[int][]byte
	// ModuleID is the one enclave that is meant. Empty: any with the right measurements; they are alike then.
	ModuleID string
	// Now is the time at which certificates have to be valid. Nil: time.Now.
	Now func() time.Time
}

// Verify is for pool.WithPeerVerifier: it reads the document that an enclave sends ahead of HTTP/2, at most MaxDocument
// bytes, and holds it and the connection against the policy. It wants TLS 1.3, where the exporter names the connection
// whoever is at its other end.
func (p Policy) Verify(ctx context.Context, peer pool.PeerInfo) error {
	if peer.TLS == nil || peer.TLS.Version != tls.VersionTLS13 || len(peer.TLS.PeerCertificates) == 0 {
		return errors.New("attestation: want TLS 1.3 and a certificate")
	}
	nonce, err := connectionNonce(peer.TLS)
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := peer.Conn.SetReadDeadline(deadline); err != nil { // the pool takes it back
			return err
		}
	}
	document, err := ReadDocument(peer.Conn)
	if err != nil {
		return fmt.Errorf("attestation: %w", err)
	}
	if _, err := p.Check(document, nonce, KeyHash(peer.TLS.PeerCertificates[0])); err != nil {
		return fmt.Errorf("attestation: %w", err)
	}
	return nil
}

// Check holds a document against the policy, and against the nonce and the hash of the key that it should be about. The
// payload is believed in nothing before the chain and the signature are good, but for where the certificates are.
func (p Policy) Check(document, nonce, key []byte) (*Document, error) {
	if len(document) > MaxDocument {
		return nil, fmt.Errorf("%w: %d bytes: want at most %d", ErrMalformed, len(document), MaxDocument)
	}
	var signed cose.UntaggedSign1Message
	if err := signed.UnmarshalCBOR(document); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	d, err := parse(signed.Payload)
	if err != nil {
		return nil, err
	}
	signer, err := p.chain(d)
	if err != nil {
		return nil, err
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmES384, signer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if err := signed.Verify(nil, verifier); err != nil { // which also wants the algorithm to be ES384
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	switch {
	case len(nonce) == 0 || subtle.ConstantTimeCompare(d.Nonce, nonce) != 1:
		return nil, ErrStale
	case len(key) == 0 || !bytes.Equal(d.UserData, key):
		return nil, ErrKey
	}
	if err := p.code(d); err != nil {
		return nil, err
	}
	return d, nil
}

// chain returns the key that signed the document, once its certificate leads to a root. The bundle's own root is not
// trusted for being there.
func (p Policy) chain(d *Document) (*ecdsa.PublicKey, error) {
	leaf, err := x509.ParseCertificate(d.Certificate)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate: %w", ErrMalformed, err)
	}
	between := x509.NewCertPool()
	for i, der := range d.CABundle {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: cabundle[%d]: %w", ErrMalformed, i, err)
		}
		between.AddCert(c)
	}
	roots, now := p.Roots, time.Now
	if roots == nil {
		roots = x509.NewCertPool() // nil would be the system's
	}
	if p.Now != nil {
		now = p.Now
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChain, err)
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() {
		return nil, fmt.Errorf("%w: the key is a %T: want one of P-384", ErrSignature, leaf.PublicKey)
	}
	return key, nil
}

// code holds what runs in the enclave against the policy.
func (p Policy) code(d *Document) error {
	switch {
	case len(p.PCRs) == 0:
		return fmt.Errorf("%w: the policy names no PCR", ErrCode)
	case d.debug():
		return fmt.Errorf("%w: PCR0 is zero: the enclave runs in debug mode", ErrCode)
	case p.ModuleID != "" && p.ModuleID != d.ModuleID:
		return fmt.Errorf("%w: another enclave than the one that is meant", ErrCode)
	}
	for i, want := range p.PCRs {
		if got, ok := d.PCRs[i]; !ok || len(want) == 0 || !bytes.Equal(got, want) {
			return fmt.Errorf("%w: PCR%d is %.4x…: want %.4x…", ErrCode, i, got, want)
		}
	}
	return nil
}

// KeyHash is what stands in UserData for the key of a certificate.
func KeyHash(c *x509.Certificate) []byte {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return sum[:]
}

// ReadDocument reads what writeDocument wrote, and not a byte more.
func ReadDocument(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := int(head[0])<<8 | int(head[1])
	if size == 0 || size > MaxDocument {
		return nil, fmt.Errorf("%w: announced with %d bytes: want 1 to %d", ErrMalformed, size, MaxDocument)
	}
	document := make([]byte, size)
	_, err := io.ReadFull(r, document)
	return document, err
}
