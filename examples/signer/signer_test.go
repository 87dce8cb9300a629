package signer

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ecdsaAlg = signerv1.Algorithm_ALGORITHM_ECDSA_SECP256K1
	edAlg    = signerv1.Algorithm_ALGORITHM_ED25519
)

// fixture is a signature of each algorithm over the same digest.
func fixture(t *testing.T) (digest, ecPub, ecSig, edPub, edSig []byte) {
	t.Helper()
	sum := sha256.Sum256([]byte("a message"))
	ec, err := secp256k1.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return sum[:], ec.PubKey().SerializeCompressed(), ecdsa.Sign(ec, sum[:]).Serialize(), pub, ed25519.Sign(priv, sum[:])
}

func TestVerifyAcceptsWhatTheAlgorithmsProduce(t *testing.T) {
	digest, ecPub, ecSig, edPub, edSig := fixture(t)
	if err := Verify(ecdsaAlg, ecPub, digest, ecSig); err != nil {
		t.Errorf("ECDSA: %v", err)
	}
	if err := Verify(edAlg, edPub, digest, edSig); err != nil {
		t.Errorf("Ed25519: %v", err)
	}
}

func TestVerifyNamesWhatIsWrong(t *testing.T) {
	digest, ecPub, ecSig, edPub, edSig := fixture(t)
	other := sha256.Sum256([]byte("another message"))
	_, _, otherSig, _, otherEdSig := fixture(t)
	for _, c := range []struct {
		name             string
		alg              signerv1.Algorithm
		pub, digest, sig []byte
		want             error
	}{
		{"ECDSA, other digest", ecdsaAlg, ecPub, other[:], ecSig, ErrBadSignature},
		{"ECDSA, other key's signature", ecdsaAlg, ecPub, digest, otherSig, ErrBadSignature},
		{"ECDSA, truncated signature", ecdsaAlg, ecPub, digest, ecSig[:len(ecSig)-1], ErrBadSignature},
		{"ECDSA, trailing byte", ecdsaAlg, ecPub, digest, append(ecSig[:len(ecSig):len(ecSig)], 0), ErrBadSignature},
		{"ECDSA, no signature", ecdsaAlg, ecPub, digest, nil, ErrBadSignature},
		{"ECDSA, the digest in place of the signature", ecdsaAlg, ecPub, digest, digest, ErrBadSignature},
		{"ECDSA, high S", ecdsaAlg, ecPub, digest, highS(t, ecSig), ErrBadSignature},
		{"ECDSA, other kind of key", ecdsaAlg, edPub, digest, ecSig, ErrBadPublicKey},
		{"ECDSA, not a point", ecdsaAlg, append([]byte{9}, ecPub[1:]...), digest, ecSig, ErrBadPublicKey},
		{"Ed25519, other digest", edAlg, edPub, other[:], edSig, ErrBadSignature},
		{"Ed25519, other key's signature", edAlg, edPub, digest, otherEdSig, ErrBadSignature},
		{"Ed25519, truncated signature", edAlg, edPub, digest, edSig[:63], ErrBadSignature},
		{"Ed25519, other kind of key", edAlg, ecPub, digest, edSig, ErrBadPublicKey},
		{"short digest", ecdsaAlg, ecPub, digest[:31], ecSig, ErrBadDigest},
		{"no algorithm", signerv1.Algorithm_ALGORITHM_UNSPECIFIED, ecPub, digest, ecSig, ErrBadAlgorithm},
		{"unknown algorithm", 77, ecPub, digest, ecSig, ErrBadAlgorithm},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Verify(c.alg, c.pub, c.digest, c.sig); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// highS gives the other signature that the same key and digest have: (r, n-s).
func highS(t *testing.T, sig []byte) []byte {
	t.Helper()
	parsed, err := ecdsa.ParseDERSignature(sig)
	if err != nil {
		t.Fatal(err)
	}
	// Serialize brings S below half the order, so the DER is written by hand.
	r, s := parsed.R(), parsed.S()
	s.Negate()
	integer := func(v [32]byte) []byte {
		b := v[:]
		for len(b) > 1 && b[0] == 0 {
			b = b[1:]
		}
		if b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	body := append(integer(r.Bytes()), integer(s.Bytes())...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

func TestErrorsKeepCodeMessageAndDetailsOnAStream(t *testing.T) {
	st, err := status.New(codes.Unavailable, "draining").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	got := status.Convert(AsError(ErrorOf(st.Err())))
	if got.Code() != codes.Unavailable || got.Message() != "draining" {
		t.Errorf("got %v", got)
	}
	if len(got.Details()) != 1 || got.Details()[0].(*errdetails.RetryInfo).GetRetryDelay().AsDuration() != time.Second {
		t.Errorf("details: %v", got.Details())
	}
}

func TestErrorsWithoutAStatusGetTheCodeThatFits(t *testing.T) {
	for err, want := range map[error]codes.Code{
		context.DeadlineExceeded:    codes.DeadlineExceeded,
		context.Canceled:            codes.Canceled,
		errors.New("anything else"): codes.Unknown,
	} {
		if got := ErrorOf(err).GetCode(); got != int32(want) {
			t.Errorf("%v: got %d, want %d", err, got, want)
		}
	}
	if ErrorOf(nil) != nil || AsError(nil) != nil {
		t.Error("nil must stay nil")
	}
	if got := status.Code(AsError(&signerv1.Error{})); got != codes.Internal {
		t.Errorf("an error with code OK gave %v", got)
	}
}
