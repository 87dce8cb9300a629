package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sort"
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

// What is sent beside the padding is not ours to know to the byte, so the limit is looked for: one more is refused.
func TestGRPCHeadersBeyondTheLimitAreRefused(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	r.create(t, "k", edAlg)
	const least, most = 15 << 10, 16 << 10 // 16 KiB are for all of them
	refused := least + sort.Search(most-least, func(n int) bool {
		ctx := metadata.AppendToOutgoingContext(limited(t), "x-padding", strings.Repeat("x", least+n))
		_, err := r.signer.Sign(ctx, &signerv1.SignRequest{KeyId: "k", Digest: digest})
		if code := status.Code(err); code != codes.OK && code != codes.Internal {
			t.Errorf("metadata of %d bytes: %v", least+n, err)
		}
		return err != nil
	})
	if refused == least || refused == most {
		t.Errorf("metadata of %d bytes is the first that is refused", refused)
	}
}

func TestHTTPHeadersBeyondTheLimitAreRefused(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	const least, most = 16 << 10, 20 << 10 // net/http adds 4 KiB to the limit
	refused := least + sort.Search(most-least, func(n int) bool {
		req, err := http.NewRequestWithContext(limited(t), http.MethodGet, "http://gateway/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Padding", strings.Repeat("x", least+n))
		res, err := r.web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("headers of %d bytes: %s", least+n, res.Status)
		}
		return res.StatusCode != http.StatusOK
	})
	if refused == least || refused == most {
		t.Errorf("a header of %d bytes is the first that is refused", refused)
	}
}

func TestTheListenersHaveTheirLimits(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	for name, l := range map[string]struct {
		server      *http.Server
		write, idle time.Duration
	}{
		"API":         {r.gateway.http, 40 * time.Second, 2 * time.Minute},
		"status page": {r.gateway.debug, 10 * time.Second, time.Minute},
	} {
		h := l.server
		if h.ReadHeaderTimeout != 5*time.Second || h.ReadTimeout != 10*time.Second || h.WriteTimeout != l.write ||
			h.IdleTimeout != l.idle || h.MaxHeaderBytes != 16<<10 {
			t.Errorf("%s: docs/bounds.md says otherwise: %v %v %v %v %d", name, h.ReadHeaderTimeout, h.ReadTimeout, h.WriteTimeout, h.IdleTimeout, h.MaxHeaderBytes)
		}
	}
	if w := r.gateway.http.WriteTimeout; w <= maxRequestTimeout {
		t.Errorf("an answer has %v, a request may ask for %v", w, maxRequestTimeout)
	}
}

func TestTheStatusPageIsNotAmongWhatCallersReach(t *testing.T) {
	r := start(t, enclave.Options{}, nil, "a")
	for _, path := range []string{"/debug/pool", "/debug/pool?data", "/debug/", "/debug/pprof/", "/debug/vars"} {
		if code, _ := r.get(t, path); code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, code)
		}
	}
}

// A client that sends a byte now and then holds a connection for as long as the limit says, and no longer.
func TestASlowClientIsCutOff(t *testing.T) {
	r := start(t, enclave.Options{}, func(c *Config) {
		c.Limits = Limits{Header: 200 * time.Millisecond, Read: 400 * time.Millisecond, Handshake: 200 * time.Millisecond}
	}, "a")
	debugPath := filepath.Join(t.TempDir(), "debug")
	lis, err := Listen("unix:" + debugPath)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.gateway.ServeDebug(lis) }()
	t.Cleanup(func() { // the parts have ended
		_ = r.shutdown(limited(t))
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	for name, c := range map[string]struct{ path, begin string }{
		"headers":                   {r.httpPath, "GET /healthz HTTP/1.1\r\nHost: gateway\r\nX-Slow: "},
		"a body":                    {r.httpPath, fmt.Sprintf("POST /v1/sign HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", maxBody)},
		"a gRPC handshake":          {r.grpcPath, "PRI * HTT"},
		"the status page's headers": {debugPath, "GET /debug/pool HTTP/1.1\r\nHost: gateway\r\nX-Slow: "},
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
						if c.path != r.grpcPath {
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
