package gateway

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// timeoutHeader carries the time that a request has, as a Go duration such as "250ms".
const timeoutHeader = "Request-Timeout"

// createBody asks for a key: POST /v1/keys.
type createBody struct {
	// KeyID is the key's name, at most 128 bytes. Empty: the gateway draws one.
	KeyID string `json:"key_id"`
	// Algorithm is ECDSA_SECP256K1 (also when empty) or ED25519.
	Algorithm string `json:"algorithm"`
}

// keyBody answers it.
type keyBody struct {
	KeyID     string `json:"key_id"`
	Algorithm string `json:"algorithm"`
	PublicKey []byte `json:"public_key"` // standard base64
}

// signBody asks for a signature: POST /v1/sign.
type signBody struct {
	KeyID string `json:"key_id"`
	// Digest is 32 bytes: 64 hexadecimal digits, or standard base64 with padding, which has 44 characters.
	Digest string `json:"digest"`
}

// signatureBody answers it.
type signatureBody struct {
	Signature []byte `json:"signature"` // standard base64
	Algorithm string `json:"algorithm"`
	EnclaveID string `json:"enclave_id"`
}

// createKey serves POST /v1/keys.
func (g *Gateway) createKey(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
	var body createBody
	if err := readJSON(w, r, &body); err != nil {
		return nil, err
	}
	algorithm, err := parseAlgorithm(body.Algorithm)
	if err != nil {
		return nil, err
	}
	res, err := g.backend.create(ctx, &signerv1.CreateRequest{KeyId: body.KeyID, Algorithm: algorithm})
	if err != nil {
		return nil, err
	}
	return keyBody{res.GetKeyId(), algorithmName(res.GetAlgorithm()), res.GetPublicKey()}, nil
}

// signDigest serves POST /v1/sign.
func (g *Gateway) signDigest(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
	var body signBody
	if err := readJSON(w, r, &body); err != nil {
		return nil, err
	}
	digest, err := parseDigest(body.Digest)
	if err != nil {
		return nil, err
	}
	if body.KeyID == "" {
		return nil, refuse(codes.InvalidArgument, "key_id is missing")
	}
	res, enclaveID, err := g.backend.sign(ctx, &signerv1.SignRequest{KeyId: body.KeyID, Digest: digest})
	if err != nil {
		return nil, err
	}
	return signatureBody{res.GetSignature(), algorithmName(res.GetAlgorithm()), enclaveID}, nil
}

// endpoint makes a handler of one that answers with a value or a failure.
func (g *Gateway) endpoint(serve func(context.Context, http.ResponseWriter, *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel, err := g.requestContext(r)
		if err != nil {
			g.writeError(w, r, err)
			return
		}
		defer cancel()
		answer, err := serve(ctx, w, r)
		if err != nil {
			g.writeError(w, r, err)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

// requestContext checks what can be checked before the body and gives the request its deadline; without a header of
// its own the pool gives it one.
func (g *Gateway) requestContext(r *http.Request) (context.Context, context.CancelFunc, error) {
	if g.isStopping() {
		return nil, nil, errStopping
	}
	if r.Method != http.MethodPost {
		return nil, nil, notAllowed(http.MethodPost)
	}
	if err := checkContentType(r.Header.Get("Content-Type")); err != nil {
		return nil, nil, err
	}
	text := r.Header.Get(timeoutHeader)
	if text == "" {
		return r.Context(), func() {}, nil
	}
	timeout, err := time.ParseDuration(text)
	if err != nil || timeout <= 0 {
		return nil, nil, refuse(codes.InvalidArgument, "header %s: want a duration above 0, such as 250ms", timeoutHeader)
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(timeout, g.backend.maxTimeout))
	return ctx, cancel, nil
}
