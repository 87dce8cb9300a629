package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// maxBody is the greatest length of a request, in bytes: JSON bodies and gRPC messages alike.
const maxBody = 64 << 10

// readJSON reads the body, which has to be one JSON object without unknown fields.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return httpError{status: http.StatusRequestEntityTooLarge, error: refuse(codes.InvalidArgument, "body is longer than %d bytes", maxBody)}
	case err != nil:
		return refuse(codes.InvalidArgument, "body: it could not be read")
	case !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")):
		return refuse(codes.InvalidArgument, "body: want a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return refuse(codes.InvalidArgument, "body: %s", mistake(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return refuse(codes.InvalidArgument, "body: want one JSON object and nothing behind it")
	}
	return nil
}

// mistake says what is wrong with a body without repeating any of it: errors are logged, by the client if not here.
func mistake(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("not JSON, at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Sprintf("%s: want %s", kind.Field, kind.Type) // names and types are ours
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "JSON that ends too soon"
	}
	return "it has a field that is not known here"
}

// writeJSON writes the answer. An error of writing is one of the client's connection, and nobody is left to tell.
func writeJSON(w http.ResponseWriter, code int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

func checkContentType(header string) error {
	media, params, err := mime.ParseMediaType(header)
	if err == nil && media == "application/json" && (params["charset"] == "" || strings.EqualFold(params["charset"], "utf-8")) {
		return nil
	}
	return httpError{status: http.StatusUnsupportedMediaType,
		error: refuse(codes.InvalidArgument, "Content-Type: want application/json")}
}

// parseDigest reads 64 hexadecimal digits, or else base64. The two cannot be confused: 64 characters of base64 are
// 48 bytes, which is no digest.
func parseDigest(text string) ([]byte, error) {
	if len(text) == hex.EncodedLen(signer.DigestSize) {
		if digest, err := hex.DecodeString(text); err == nil {
			return digest, nil
		}
	}
	digest, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(digest) != signer.DigestSize {
		return nil, refuse(codes.InvalidArgument, "digest: want %d bytes as standard base64 (44 characters) or 64 hexadecimal digits", signer.DigestSize)
	}
	return digest, nil
}

// algorithmPrefix is what the names of the protocol have and those in JSON do not.
const algorithmPrefix = "ALGORITHM_"

func algorithmName(a signerv1.Algorithm) string {
	return strings.TrimPrefix(a.String(), algorithmPrefix)
}

func parseAlgorithm(name string) (signerv1.Algorithm, error) {
	a, ok := signerv1.Algorithm_value[algorithmPrefix+name]
	switch {
	case name == "":
		return signerv1.Algorithm_ALGORITHM_UNSPECIFIED, nil
	case !ok || a == 0:
		return 0, refuse(codes.InvalidArgument, "algorithm: want ECDSA_SECP256K1 or ED25519")
	}
	return signerv1.Algorithm(a), nil
}
