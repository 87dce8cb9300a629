package attestation

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"time"

	"github.com/veraison/go-cose"
)

// Authority pretends to be the hypervisor and the authority above it: a root, an intermediate, and a certificate of a few
// hours for the key that signs documents, all P-384. On Nitro the root is Amazon's, and an enclave asks /dev/nsm.
type Authority struct {
	root    *x509.Certificate
	rootKey *ecdsa.PrivateKey
	bundle  [][]byte // DER: root, intermediate
	leaf    []byte   // DER
	key     *ecdsa.PrivateKey
}

// NewAuthority makes an authority whose signing certificate is valid for three hours, as on Nitro, from a moment on.
func NewAuthority(from time.Time) (*Authority, error) {
	key, der, err := issue("example root", from, 30*365*24*time.Hour, nil, nil)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return (&Authority{root: root, rootKey: key}).Another(from)
}

// Another is the hypervisor of another machine, below the same root.
func (a *Authority) Another(from time.Time) (*Authority, error) {
	midKey, der, err := issue("example zone", from, 20*24*time.Hour, a.root, a.rootKey)
	if err != nil {
		return nil, err
	}
	mid, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	b := &Authority{root: a.root, rootKey: a.rootKey, bundle: [][]byte{a.root.Raw, der}}
	b.key, b.leaf, err = issue("example hypervisor", from, 3*time.Hour, mid, midKey)
	return b, err
}

// issue makes a key and its certificate; without a parent it is a root. The one below the intermediate signs no
// certificates.
func issue(name string, from time.Time, lasts time.Duration, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: from.Add(-time.Minute),
		NotAfter: from.Add(lasts), KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true}
	switch {
	case parent == nil:
		parent, signer = template, key
	case parent.Issuer.CommonName == parent.Subject.CommonName: // the intermediate
	default:
		template.IsCA, template.KeyUsage = false, x509.KeyUsageDigitalSignature
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate of %s: %w", name, err)
	}
	return key, der, nil
}

// Root is what a verifier has to trust.
func (a *Authority) Root() *x509.Certificate { return a.root }

// Attest signs a document. It fills in the certificates, the digest and the time; the enclave's word is what the hypervisor
// cannot know: UserData, Nonce and PublicKey.
func (a *Authority) Attest(d Document) ([]byte, error) {
	d.Digest, d.Timestamp, d.Certificate, d.CABundle = "SHA384", uint64(time.Now().UnixMilli()), a.leaf, a.bundle
	payload, err := encoding.Marshal(d)
	if err != nil {
		return nil, err
	}
	return sign(payload, cose.AlgorithmES384, a.key)
}

// sign wraps a payload in a COSE_Sign1, without a tag, as Nitro does.
func sign(payload []byte, alg cose.Algorithm, key crypto.Signer) ([]byte, error) {
	signer, err := cose.NewSigner(alg, key)
	if err != nil {
		return nil, err
	}
	headers := cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: alg}}
	return cose.Sign1Untagged(rand.Reader, signer, headers, payload, nil)
}

// The blocks of an authority's file.
const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "EC PRIVATE KEY"
)

// Save writes the root and its key to a file for this user alone, from which LoadAuthority makes hypervisors in other
// processes. It replaces nothing.
func (a *Authority) Save(path string) error {
	key, err := x509.MarshalECPrivateKey(a.rootKey)
	if err != nil {
		return err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: a.root.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: key})...)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// LoadAuthority is a hypervisor below the root in a file, from now on.
func LoadAuthority(path string) (*Authority, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	a := new(Authority)
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		switch block.Type {
		case pemCertificate:
			a.root, err = x509.ParseCertificate(block.Bytes)
		case pemKey:
			a.rootKey, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if a.root == nil || a.rootKey == nil {
		return nil, fmt.Errorf("%s: want a %s and an %s, as Save writes them", path, pemCertificate, pemKey)
	}
	return a.Another(time.Now())
}

// Enclave is what this hypervisor attests of an enclave with an image, for NewCredentials.
func (a *Authority) Enclave(moduleID, image string) func(userData, nonce []byte) ([]byte, error) {
	return func(userData, nonce []byte) ([]byte, error) {
		return a.Attest(Document{ModuleID: moduleID, PCRs: map[int][]byte{0: Measure(image)}, UserData: userData, Nonce: nonce})
	}
}

// Measure is PCR0 of an image of which nothing is there but the name.
func Measure(image string) []byte {
	sum := sha512.Sum384([]byte(image))
	return sum[:]
}
