package attestation

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Document is the payload of an attestation document, with the fields and limits of "Verifying the root of trust" in
// the AWS Nitro Enclaves User Guide.
type Document struct {
	ModuleID    string         `cbor:"module_id"`   // the enclave that the hypervisor attests
	Digest      string         `cbor:"digest"`      // of the PCRs: SHA384
	Timestamp   uint64         `cbor:"timestamp"`   // milliseconds since 1970, by the hypervisor's clock
	PCRs        map[int][]byte `cbor:"pcrs"`        // measurements: 0 is the image
	Certificate []byte         `cbor:"certificate"` // DER, of the key that signed the document
	CABundle    [][]byte       `cbor:"cabundle"`    // DER, from the root down to the certificate's issuer
	PublicKey   []byte         `cbor:"public_key"`  // not used here
	UserData    []byte         `cbor:"user_data"`   // SHA-256 of the TLS key's SubjectPublicKeyInfo
	Nonce       []byte         `cbor:"nonce"`       // what makes it fresh: see Credentials
}

// The limits of the format.
const (
	maxPCRs      = 32
	maxPublicKey = 1024
	maxUserData  = 512
	maxNonce     = 512
	maxCert      = 1024
	// maxCABundle is ours: the real bundle has four certificates.
	maxCABundle = 8
	// MaxDocument is how large a document may be, in bytes, with its signature. A full one has about 5 KiB.
	MaxDocument = 16 << 10
)

// What can be wrong with a document.
var (
	// ErrMalformed: it is no attestation document, or breaks a limit of the format.
	ErrMalformed = errors.New("malformed attestation document")
	// ErrChain: its certificate does not lead to a root that is trusted, at this time.
	ErrChain = errors.New("certificate chain not trusted")
	// ErrSignature: it was changed after it was signed, or is not signed with ES384.
	ErrSignature = errors.New("signature not valid")
	// ErrStale: it was made for another connection.
	ErrStale = errors.New("not made for this connection")
	// ErrKey: it vouches for another key than the connection's.
	ErrKey = errors.New("it vouches for another TLS key")
	// ErrCode: it vouches for other code, or another enclave, than the policy allows.
	ErrCode = errors.New("not what the policy allows")
)

var (
	encoding = must(cbor.CoreDetEncOptions().EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 8, MaxArrayElements: 64, MaxMapPairs: 64,
	}.DecMode())
)

// must is for options that are written down here.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// parse reads a payload.
func parse(payload []byte) (*Document, error) {
	d := new(Document)
	if err := decoding.Unmarshal(payload, d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return d, d.check()
}

// check holds the document against the limits of the format.
func (d *Document) check() error {
	wrong := func(field string, got any, want string) error {
		return fmt.Errorf("%w: %s: %v: want %s", ErrMalformed, field, got, want)
	}
	switch {
	case d.ModuleID == "" || len(d.ModuleID) > 256:
		return wrong("module_id", fmt.Sprint(len(d.ModuleID), " bytes"), "1 to 256")
	case d.Digest != "SHA384":
		return wrong("digest", fmt.Sprintf("%.16q", d.Digest), "SHA384")
	case d.Timestamp == 0:
		return wrong("timestamp", 0, "milliseconds since 1970")
	case len(d.PCRs) == 0 || len(d.PCRs) > maxPCRs:
		return wrong("pcrs", fmt.Sprint(len(d.PCRs), " of them"), fmt.Sprint("1 to ", maxPCRs))
	case len(d.Certificate) == 0 || len(d.Certificate) > maxCert:
		return wrong("certificate", fmt.Sprint(len(d.Certificate), " bytes"), fmt.Sprint("1 to ", maxCert))
	case len(d.CABundle) == 0 || len(d.CABundle) > maxCABundle:
		return wrong("cabundle", fmt.Sprint(len(d.CABundle), " certificates"), fmt.Sprint("1 to ", maxCABundle))
	case len(d.PublicKey) > maxPublicKey:
		return wrong("public_key", fmt.Sprint(len(d.PublicKey), " bytes"), fmt.Sprint("at most ", maxPublicKey))
	case len(d.UserData) > maxUserData:
		return wrong("user_data", fmt.Sprint(len(d.UserData), " bytes"), fmt.Sprint("at most ", maxUserData))
	case len(d.Nonce) > maxNonce:
		return wrong("nonce", fmt.Sprint(len(d.Nonce), " bytes"), fmt.Sprint("at most ", maxNonce))
	}
	for i, pcr := range d.PCRs {
		if i < 0 || i >= maxPCRs || len(pcr) != 48 {
			return wrong(fmt.Sprint("pcrs[", i, "]"), fmt.Sprint(len(pcr), " bytes"), "index 0 to 31, 48 bytes")
		}
	}
	for i, c := range d.CABundle {
		if len(c) == 0 || len(c) > maxCert {
			return wrong(fmt.Sprint("cabundle[", i, "]"), fmt.Sprint(len(c), " bytes"), fmt.Sprint("1 to ", maxCert))
		}
	}
	return nil
}

// Made is when the hypervisor made the document, by its own clock.
func (d *Document) Made() time.Time { return time.UnixMilli(int64(d.Timestamp)) }

// debug reports whether the enclave runs in debug mode: the hypervisor then measures nothing, and shows its console.
func (d *Document) debug() bool { return bytes.Equal(d.PCRs[0], make([]byte, 48)) }
