package gateway

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// anyBody has the fields of all answers.
type anyBody struct {
	KeyID     string      `json:"key_id"`
	Algorithm string      `json:"algorithm"`
	PublicKey []byte      `json:"public_key"`
	Signature []byte      `json:"signature"`
	EnclaveID string      `json:"enclave_id"`
	Error     errorDetail `json:"error"`
}

// post sends a JSON body with further headers, given as names and values.
func (r *rig) post(t *testing.T, path, body string, headers ...string) (int, http.Header, anyBody) {
	t.Helper()
	return r.request(t, http.MethodPost, path, body, append([]string{"Content-Type", "application/json"}, headers...)...)
}

func (r *rig) request(t *testing.T, method, path, body string, headers ...string) (int, http.Header, anyBody) {
	t.Helper()
	req, err := http.NewRequestWithContext(limited(t), method, "http://gateway"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := r.web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("%s %s: Content-Type %q", method, path, got)
	}
	var answer anyBody
	d := json.NewDecoder(res.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&answer); err != nil {
		t.Fatalf("%s %s: %d: %v", method, path, res.StatusCode, err)
	}
	return res.StatusCode, res.Header, answer
}

func signJSON(keyID string) string {
	return fmt.Sprintf(`{"key_id": %q, "digest": %q}`, keyID, base64.StdEncoding.EncodeToString(digest))
}

func TestKeysAreMadeAndUsedThroughJSON(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a", "b")
		for _, c := range []struct {
			body string
			want signerv1.Algorithm
		}{
			{`{}`, ecdsaAlg},
			{`{"algorithm": "ECDSA_SECP256K1"}`, ecdsaAlg},
			{`{"key_id": "mine", "algorithm": "ED25519"}`, edAlg},
		} {
			code, _, key := r.post(t, "/v1/keys", c.body)
			if code != http.StatusOK || key.KeyID == "" || key.Algorithm != algorithmName(c.want) {
				t.Fatalf("%s: %d %+v", c.body, code, key)
			}
			for _, text := range []string{base64.StdEncoding.EncodeToString(digest), hex.EncodeToString(digest), strings.ToUpper(hex.EncodeToString(digest))} {
				code, _, sig := r.post(t, "/v1/sign", fmt.Sprintf(`{"key_id": %q, "digest": %q}`, key.KeyID, text))
				if code != http.StatusOK || sig.Algorithm != key.Algorithm || sig.EnclaveID != r.owner(key.KeyID) {
					t.Errorf("digest %s: %d %+v", text, code, sig)
				}
				if err := signer.Verify(c.want, key.PublicKey, digest, sig.Signature); err != nil {
					t.Errorf("digest %s: %v", text, err)
				}
			}
		}
		_, _, again := r.post(t, "/v1/keys", `{"key_id": "mine", "algorithm": "ED25519"}`)
		if got := r.create(t, "mine", edAlg); string(got.GetPublicKey()) != string(again.PublicKey) {
			t.Error("the same name gave another key")
		}
	})
}

func TestBadRequestsAreToldApart(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a")
		r.create(t, "k", ecdsaAlg)
		jsonType := []string{"Content-Type", "application/json; charset=utf-8"}
		for name, c := range map[string]struct {
			method, path, body string
			headers            []string
			want               int
			code               string
		}{
			"unknown key":        {"POST", "/v1/sign", signJSON("other"), jsonType, 404, "NOT_FOUND"},
			"another algorithm":  {"POST", "/v1/keys", `{"key_id": "k", "algorithm": "ED25519"}`, jsonType, 409, "ALREADY_EXISTS"},
			"no such algorithm":  {"POST", "/v1/keys", `{"algorithm": "RSA"}`, jsonType, 400, "INVALID_ARGUMENT"},
			"no algorithm":       {"POST", "/v1/keys", `{"algorithm": "UNSPECIFIED"}`, jsonType, 400, "INVALID_ARGUMENT"},
			"long name":          {"POST", "/v1/keys", `{"key_id": "` + strings.Repeat("x", 129) + `"}`, jsonType, 400, "INVALID_ARGUMENT"},
			"no key":             {"POST", "/v1/sign", signJSON(""), jsonType, 400, "INVALID_ARGUMENT"},
			"no digest":          {"POST", "/v1/sign", `{"key_id": "k"}`, jsonType, 400, "INVALID_ARGUMENT"},
			"short digest":       {"POST", "/v1/sign", `{"key_id": "k", "digest": "AAAA"}`, jsonType, 400, "INVALID_ARGUMENT"},
			"half a hex digest":  {"POST", "/v1/sign", `{"key_id": "k", "digest": "` + strings.Repeat("g", 64) + `"}`, jsonType, 400, "INVALID_ARGUMENT"},
			"unknown field":      {"POST", "/v1/keys", `{"keyid": "k"}`, jsonType, 400, "INVALID_ARGUMENT"},
			"two values":         {"POST", "/v1/keys", `{} {}`, jsonType, 400, "INVALID_ARGUMENT"},
			"null":               {"POST", "/v1/keys", `null`, jsonType, 400, "INVALID_ARGUMENT"},
			"no body":            {"POST", "/v1/keys", ``, jsonType, 400, "INVALID_ARGUMENT"},
			"long body":          {"POST", "/v1/keys", `{"key_id": "` + strings.Repeat("x", maxBody) + `"}`, jsonType, 413, "INVALID_ARGUMENT"},
			"not JSON":           {"POST", "/v1/keys", `{}`, []string{"Content-Type", "text/plain"}, 415, "INVALID_ARGUMENT"},
			"no content type":    {"POST", "/v1/keys", `{}`, nil, 415, "INVALID_ARGUMENT"},
			"another method":     {"GET", "/v1/sign", ``, nil, 405, "UNIMPLEMENTED"},
			"no such path":       {"POST", "/v1/other", `{}`, jsonType, 404, "UNIMPLEMENTED"},
			"bad time-out":       {"POST", "/v1/sign", signJSON("k"), append(jsonType, timeoutHeader, "soon"), 400, "INVALID_ARGUMENT"},
			"time-out of 0":      {"POST", "/v1/sign", signJSON("k"), append(jsonType, timeoutHeader, "0s"), 400, "INVALID_ARGUMENT"},
			"time-out too short": {"POST", "/v1/sign", signJSON("k"), append(jsonType, timeoutHeader, "1ns"), 504, "DEADLINE_EXCEEDED"},
		} {
			t.Run(name, func(t *testing.T) {
				code, header, body := r.request(t, c.method, c.path, c.body, c.headers...)
				if code != c.want || body.Error.Code != c.code || body.Error.Message == "" {
					t.Errorf("%d %+v, want %d %s", code, body.Error, c.want, c.code)
				}
				if body.Error.Retryable != (code == 504) {
					t.Errorf("retryable: %v", body.Error.Retryable)
				}
				if allow := header.Get("Allow"); (code == 405) != (allow == "POST") {
					t.Errorf("Allow: %q", allow)
				}
			})
		}
	})
}

func TestEnclaveThatIsDownAnswers503WellWithinASecond(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, by(transport), "a", "b")
		r.create(t, r.keyAt(t, "a"), edAlg)
		key := r.create(t, r.keyAt(t, "b"), edAlg)
		r.enclaves["a"].Close()
		for round := range 3 {
			began := time.Now()
			code, header, body := r.post(t, "/v1/sign", signJSON(r.keyAt(t, "a")))
			if took := time.Since(began); took > 900*time.Millisecond {
				t.Errorf("round %d: took %v", round, took)
			}
			if code != 503 || body.Error.Code != "UNAVAILABLE" || !body.Error.Retryable || body.Error.RetryAfterMS <= 0 {
				t.Errorf("round %d: %d %+v", round, code, body.Error)
			}
			// The first may have been sent when nobody had noticed yet.
			if d := body.Error.Disposition; d != "not_sent" && (round > 0 || d != "unknown") {
				t.Errorf("round %d: disposition %s", round, d)
			}
			if header.Get("Retry-After") != "1" {
				t.Errorf("round %d: Retry-After %q", round, header.Get("Retry-After"))
			}
		}
		_, err := r.signer.Sign(limited(t), &signerv1.SignRequest{KeyId: r.keyAt(t, "a"), Digest: digest})
		if info := errorInfo(t, err); status.Code(err) != codes.Unavailable || info.GetReason() != "ENCLAVE_UNAVAILABLE" || info.GetMetadata()["retryable"] != "true" {
			t.Errorf("gRPC: %v, %v", err, info)
		}
		if _, err := r.signer.Sign(limited(t), &signerv1.SignRequest{KeyId: key.GetKeyId(), Digest: digest}); err != nil {
			t.Errorf("the other enclave: %v", err)
		}
		if code, _, body := r.post(t, "/v1/keys", `{"key_id": "`+r.keyAt(t, "a")+`"}`); code != 503 || !body.Error.Retryable {
			t.Errorf("Create: %d %+v", code, body.Error)
		}
	})
}

func TestExhaustedPoolAnswers429(t *testing.T) {
	inBothTransports(t, func(t *testing.T, transport Transport) {
		r := start(t, enclave.Options{}, func(c *Config) {
			c.Transport = transport
			c.Pool.MinConns, c.Pool.MaxConns, c.Pool.MaxConcurrentStreams, c.Pool.MaxWaiters = 1, 1, 1, 0
		}, "a")
		if err := r.gateway.pool.Ready(limited(t)); err != nil {
			t.Fatal(err)
		}
		r.create(t, "k", edAlg)
		lease, err := r.gateway.pool.Acquire(limited(t), "a")
		if err != nil {
			t.Fatal(err)
		}
		code, header, body := r.post(t, "/v1/sign", signJSON("k"))
		if code != 429 || body.Error.Code != "RESOURCE_EXHAUSTED" || !body.Error.Retryable || body.Error.Disposition != "not_sent" || header.Get("Retry-After") == "" {
			t.Errorf("%d %v %+v", code, header, body.Error)
		}
		lease.Release()
		if code, _, body := r.post(t, "/v1/sign", signJSON("k")); code != 200 {
			t.Errorf("after the release: %d %+v", code, body.Error)
		}
	})
}
