package gateway

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	otelcodes "go.opentelemetry.io/otel/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// flow is a client that carries marks, and all that was said because of it.
type flow struct {
	*rig
	marks                                 []mark
	keyID, digest, meta, credential, word mark
	logs                                  *sink // of the gateway, its pool, the enclaves
	told                                  *sink // texts of errors, as clients got them
	failures                              int
}

func newFlow() *flow {
	f := &flow{keyID: marked("key"), meta: marked("metadata"), credential: marked("credential"), word: marked("word"),
		logs: &sink{}, told: &sink{}, digest: mark{"digest", make([]byte, 32)}}
	_, _ = rand.Read(f.digest.data)
	f.marks = []mark{f.keyID, f.digest, f.meta, f.credential, f.word}
	return f
}

// context carries marks as metadata.
func (f *flow) context(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, "x-mark", string(f.meta.data), "authorization", "Bearer "+string(f.credential.data),
		"mark-bin", string(f.meta.data))
}

// grpcCall notes how a call over gRPC failed.
func (f *flow) grpcCall(err error) {
	if err == nil {
		return
	}
	f.failures++
	st := status.Convert(err)
	fmt.Fprintf(f.told, "%v\n%v\n%+v\n", err, st.Proto(), st.Details())
}

// httpCall makes a request over HTTP, and notes what came back unless it is an answer to it.
func (f *flow) httpCall(t *testing.T, method, path, contentType, timeout, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(limited(t), method, "http://gateway"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+string(f.credential.data))
	req.Header.Set("X-Mark", string(f.meta.data))
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Cookie", "session="+url.QueryEscape(string(f.credential.data)))
	if timeout != "" {
		req.Header.Set(timeoutHeader, timeout)
	}
	res, err := f.rig.web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode >= 400 {
		f.failures++
		fmt.Fprintf(f.told, "%v %v %s\n", res.Status, res.Header, text) // not the method: it has a mark, and is ours
	}
}

func (f *flow) signBody() string {
	return fmt.Sprintf(`{"key_id": %q, "digest": %q}`, f.keyID.data, base64.StdEncoding.EncodeToString(f.digest.data))
}

// all asks for everything once, with the time it has.
func (f *flow) all(t *testing.T, d time.Duration) {
	key := string(f.keyID.data)
	_, err := f.signer.Create(f.context(t, d), &signerv1.CreateRequest{KeyId: key, Algorithm: edAlg})
	f.grpcCall(err)
	_, err = f.signer.Sign(f.context(t, d), &signerv1.SignRequest{KeyId: key, Digest: f.digest.data})
	f.grpcCall(err)
	f.stream(t, d)
	f.traced(t, d)
	f.httpCall(t, "POST", "/v1/keys", "application/json", d.String(), fmt.Sprintf(`{"key_id": %q, "algorithm": "ED25519"}`, key))
	f.httpCall(t, "POST", "/v1/sign", "application/json", d.String(), f.signBody())
	f.httpCall(t, "GET", "/v1/route?key_id="+url.QueryEscape(key), "", "", "")
}

// traced signs in a span, as a server does that has a tracer: the span hears of the pool's doings, and of the error.
func (f *flow) traced(t *testing.T, d time.Duration) {
	ctx, span := otel.Tracer("test").Start(f.context(t, d), "sign")
	defer span.End()
	s := &service{backend: f.gateway.backend, stopping: f.gateway.stopping}
	_, err := s.Sign(ctx, &signerv1.SignRequest{KeyId: string(f.keyID.data), Digest: f.digest.data})
	if err != nil {
		span.RecordError(err)
		span.SetStatus(otelcodes.Error, status.Convert(err).Message())
	}
	f.grpcCall(err)
}

func (f *flow) stream(t *testing.T, d time.Duration) {
	s, err := f.signer.SignStream(f.context(t, d))
	if err != nil {
		f.grpcCall(err)
		return
	}
	sign := &signerv1.SignRequest{KeyId: string(f.keyID.data), Digest: f.digest.data}
	if err := s.Send(&signerv1.SignStreamRequest{Id: 1, Request: &signerv1.SignStreamRequest_Sign{Sign: sign}}); err != nil {
		f.grpcCall(err)
	}
	_ = s.CloseSend()
	for {
		m, err := s.Recv()
		if err == io.EOF {
			return
		}
		if err != nil {
			f.grpcCall(err)
			return
		}
		if e := m.GetError(); e != nil {
			f.failures++
			fmt.Fprintf(f.told, "%v\n", e)
		}
	}
}

// bad sends what is not understood, with marks in every place that there is.
func (f *flow) bad(t *testing.T) {
	key, other := string(f.keyID.data), marked("other")
	f.marks = append(f.marks, other)
	for _, body := range []string{
		fmt.Sprintf(`{%q: 1}`, key), fmt.Sprintf(`{"key_id": [%q]}`, key), fmt.Sprintf(`{"key_id": %q`, key), fmt.Sprintf(`%q`, key),
		fmt.Sprintf(`{"key_id": %q, "algorithm": %q}`, key, f.meta.data), fmt.Sprintf(`{"key_id": %q} %q`, key, key),
		fmt.Sprintf(`{"key_id": %q, "digest": %q}`, key, f.digest.data), fmt.Sprintf(`{"key_id": "k", "digest": %q}`, key), key, "{" + key,
		fmt.Sprintf(`{"key_ids": [%q, ""]}`, key), fmt.Sprintf(`{"key_id": %q, "digest": "%x00"}`, key, f.digest.data),
	} {
		for _, path := range []string{"/v1/keys", "/v1/sign", "/v1/route"} {
			f.httpCall(t, "POST", path, "application/json", "", body)
		}
	}
	f.httpCall(t, "POST", "/v1/sign", string(f.meta.data), "", f.signBody())
	f.httpCall(t, "POST", "/v1/sign", "application/"+url.PathEscape(key), "", f.signBody())
	f.httpCall(t, "POST", "/v1/sign", "application/json", string(f.meta.data), f.signBody())
	f.httpCall(t, "POST", "/v1/sign/"+url.PathEscape(key), "application/json", "", f.signBody())
	f.httpCall(t, "GET", "/v1/keys?key_id="+url.QueryEscape(key), "", "", "")
	f.httpCall(t, "MARK"+fmt.Sprintf("%X", f.meta.data), "/v1/keys", "application/json", "", "")
	for _, req := range []*signerv1.SignRequest{
		{KeyId: key, Digest: append(f.digest.data[:31:31], 0)}, {KeyId: key, Digest: append(f.digest.data[:32:32], 0)},
		{KeyId: string(other.data), Digest: f.digest.data}, {KeyId: strings.Repeat(key, 10), Digest: f.digest.data}, {Digest: f.digest.data},
	} {
		_, err := f.signer.Sign(f.context(t, time.Second), req)
		f.grpcCall(err)
	}
	_, err := f.signer.Create(f.context(t, time.Second), &signerv1.CreateRequest{KeyId: strings.Repeat(key, 10)})
	f.grpcCall(err)
	_, err = f.signer.Create(f.context(t, time.Second), &signerv1.CreateRequest{KeyId: key, Algorithm: ecdsaAlg}) // it has another
	f.grpcCall(err)
}
