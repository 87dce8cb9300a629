package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/examples/signer"
)

// read reads a body as a handler does.
func read(body []byte, into any) error {
	return readJSON(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body)), into)
}

// FuzzJSON holds the gateway's reader to what encoding/json says, to reading back what it has read, and to errors that
// are INVALID_ARGUMENT and repeat nothing of the body.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"key_id":"k","digest":"pQ=="}`, `{"key_ids":["a","b"]}`, ` {"algorithm":"ED25519"} `, `{} {}`, `[]`, `null`, `{"key_id":1}`, `{"key_id":null}`,
		`{"key_id":"`, `{"KEY_ID":"x","key_id":"y"}`, "\ufeff{}", `{"other":1}`, strings.Repeat("[", 100), `{"key_id":"\ud800"}`, "{\"key_id\":\"\xff\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, kind := range []any{createBody{}, signBody{}, routesBody{}} {
			into := reflect.New(reflect.TypeOf(kind)).Interface()
			err := read(body, into)
			var any map[string]json.RawMessage
			valid := json.Unmarshal(body, &any) == nil && any != nil
			if err != nil {
				if status.Code(err) != codes.InvalidArgument {
					t.Fatalf("%T: %v", kind, err)
				}
				for i := 0; i+8 <= len(body); i++ {
					piece := string(body[i : i+8])
					if strings.Contains(err.Error(), piece) && !strings.Contains("body: key_ids key_id digest algorithm want JSON object string", strings.TrimSpace(piece)) {
						t.Fatalf("%T: %q repeats %q", kind, err, piece)
					}
				}
				continue
			}
			if !valid {
				t.Fatalf("%T: %q was accepted", kind, body)
			}
			text, err := json.Marshal(into)
			if err != nil {
				t.Fatal(err)
			}
			again := reflect.New(reflect.TypeOf(kind)).Interface()
			if err := read(text, again); err != nil || !reflect.DeepEqual(into, again) {
				t.Fatalf("%q is %+v; as %q it is %+v, %v", body, into, text, again, err)
			}
		}
	})
}

// FuzzDigest holds parseDigest to taking 32 bytes, and each in one spelling of either kind.
func FuzzDigest(f *testing.F) {
	f.Add(base64.StdEncoding.EncodeToString(digest))
	f.Add(hex.EncodeToString(digest))
	f.Add(strings.ToUpper(hex.EncodeToString(digest)))
	f.Add(strings.Repeat("A", 43) + "=")
	f.Add(strings.Repeat("A", 42) + "B=")
	f.Add(base64.RawStdEncoding.EncodeToString(digest))
	f.Add("\n" + base64.StdEncoding.EncodeToString(digest))
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseDigest(text)
		if err != nil {
			var fail *failure
			if !errors.As(err, &fail) || len(text) > 8 && strings.Contains(err.Error(), text) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		spelled := strings.NewReplacer("\n", "", "\r", "").Replace(text) // encoding/base64 passes over these
		if len(got) != signer.DigestSize || spelled != base64.StdEncoding.EncodeToString(got) && strings.ToLower(text) != hex.EncodeToString(got) {
			t.Fatalf("%q is %x", text, got)
		}
	})
}
