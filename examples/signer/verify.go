package signer

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// DigestSize is the length of every digest, in bytes.
const DigestSize = 32

// MaxKeyIDSize is the greatest length of a key's name, in bytes.
const MaxKeyIDSize = 128

// The ways in which Verify can refuse.
var (
	// ErrBadSignature says that the signature is malformed or belongs to another key or digest.
	ErrBadSignature = errors.New("signature does not verify")
	// ErrBadPublicKey says that the public key is not one of the algorithm's.
	ErrBadPublicKey = errors.New("malformed public key")
	// ErrBadDigest says that the digest has a length other than DigestSize.
	ErrBadDigest = errors.New("digest is not 32 bytes")
	// ErrBadAlgorithm says that the algorithm is unspecified or unknown.
	ErrBadAlgorithm = errors.New("unknown algorithm")
)

// Verify reports whether signature was made over digest with the private half of publicKey. The
// formats are those that the comments of signerv1.Algorithm give, and nothing else is accepted: an
// ECDSA signature with a high S is refused, since anybody can compute it from the low one.
// The error is nil, or wraps one of the Err values above.
func Verify(alg signerv1.Algorithm, publicKey, digest, signature []byte) error {
	if len(digest) != DigestSize {
		return fmt.Errorf("%w: %d", ErrBadDigest, len(digest))
	}
	switch alg {
	case signerv1.Algorithm_ALGORITHM_ECDSA_SECP256K1:
		return verifyECDSA(publicKey, digest, signature)
	case signerv1.Algorithm_ALGORITHM_ED25519:
		if len(publicKey) != ed25519.PublicKeySize {
			return fmt.Errorf("%w: %d bytes, want %d", ErrBadPublicKey, len(publicKey), ed25519.PublicKeySize)
		}
		if !ed25519.Verify(publicKey, digest, signature) {
			return ErrBadSignature
		}
		return nil
	default:
		return fmt.Errorf("%w: %v", ErrBadAlgorithm, alg)
	}
}

func verifyECDSA(publicKey, digest, signature []byte) error {
	if len(publicKey) != secp256k1.PubKeyBytesLenCompressed {
		return fmt.Errorf("%w: %d bytes, want %d", ErrBadPublicKey, len(publicKey), secp256k1.PubKeyBytesLenCompressed)
	}
	key, err := secp256k1.ParsePubKey(publicKey)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadPublicKey, err)
	}
	sig, err := ecdsa.ParseDERSignature(signature)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	if s := sig.S(); s.IsOverHalfOrder() {
		return fmt.Errorf("%w: high S", ErrBadSignature)
	}
	if !sig.Verify(digest, key) {
		return ErrBadSignature
	}
	return nil
}
