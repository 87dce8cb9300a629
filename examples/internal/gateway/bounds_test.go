package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

func TestABodyOfTheLimitPassesAndOneByteMoreDoesNot(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	r.create(t, "k", edAlg)
	body := signJSON("k")
	for extra, want := range []int{http.StatusOK, http.StatusRequestEntityTooLarge} {
		padded := body + strings.Repeat(" ", maxBody-len(body)+extra)
		if code, _, answer := r.post(t, "/v1/sign", padded); code != want {
			t.Errorf("a body of %d bytes: %d %+v", len(padded), code, answer.Error)
		}
	}
}

func TestAMessageOfTheLimitPassesAndOneByteMoreDoesNot(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	key := maxBody
	for proto.Size(&signerv1.SignRequest{KeyId: strings.Repeat("x", key)}) > maxBody {
		key--
	}
	for extra, want := range []codes.Code{codes.InvalidArgument, codes.ResourceExhausted} { // it is read, and found wanting
		_, err := r.signer.Sign(limited(t), &signerv1.SignRequest{KeyId: strings.Repeat("x", key+extra)})
		if status.Code(err) != want {
			t.Errorf("a message of the limit and %d bytes: %v, want %v", extra, err, want)
		}
	}
}

func TestGRPCHeadersBeyondTheLimitAreRefused(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	r.create(t, "k", edAlg)
	for size, want := range map[int]codes.Code{12 << 10: codes.OK, 16 << 10: codes.Internal} {
		ctx := metadata.AppendToOutgoingContext(limited(t), "x-padding", strings.Repeat("x", size))
		if _, err := r.signer.Sign(ctx, &signerv1.SignRequest{KeyId: "k", Digest: digest}); status.Code(err) != want {
			t.Errorf("metadata of %d bytes: %v, want %v", size, err, want)
		}
	}
}

func TestHTTPHeadersBeyondTheLimitAreRefused(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	for size, want := range map[int]int{16 << 10: http.StatusOK, 21 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		req, err := http.NewRequestWithContext(limited(t), http.MethodGet, "http://gateway/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Padding", strings.Repeat("x", size))
		res, err := r.web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("headers of %d bytes: %s, want %d", size, res.Status, want)
		}
	}
}

func TestTheListenersHaveTheirLimits(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	h := r.gateway.http
	if h.ReadHeaderTimeout != 5*time.Second || h.ReadTimeout != 10*time.Second || h.WriteTimeout != 40*time.Second ||
		h.IdleTimeout != 2*time.Minute || h.MaxHeaderBytes != 16<<10 {
		t.Errorf("docs/bounds.md says otherwise: %v %v %v %v %d", h.ReadHeaderTimeout, h.ReadTimeout, h.WriteTimeout, h.IdleTimeout, h.MaxHeaderBytes)
	}
	if h.WriteTimeout <= maxRequestTimeout {
		t.Errorf("an answer has %v, a request may ask for %v", h.WriteTimeout, maxRequestTimeout)
	}
}

// A client that sends a byte now and then holds a connection for as long as the limit says, and no longer.
func TestASlowClientIsCutOff(t *testing.T) {
	r := start(t, enclave.Options{}, func(c *Config) {
		c.Limits = Limits{Header: 200 * time.Millisecond, Read: 400 * time.Millisecond, Handshake: 200 * time.Millisecond}
	}, "a")
	for name, c := range map[string]struct{ path, begin string }{
		"headers":          {r.httpPath, "GET /healthz HTTP/1.1\r\nHost: gateway\r\nX-Slow: "},
		"a body":           {r.httpPath, fmt.Sprintf("POST /v1/sign HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", maxBody)},
		"a gRPC handshake": {r.grpcPath, "PRI * HTT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("unix", c.path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.begin); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-tick.C:
						if c.path == r.httpPath {
							_, _ = io.WriteString(conn, "x") // until it is cut off
						}
					case <-stop:
						return
					}
				}
			}()
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			_, err = io.Copy(io.Discard, conn)
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Errorf("it is still open after %v", time.Since(began))
			}
		})
	}
}
