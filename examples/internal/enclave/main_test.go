package enclave

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a working server does in milliseconds.
const patience = 10 * time.Second

// start runs a server on a unix socket until the test ends and returns the socket's target.
func start(t *testing.T, o Options) (*Server, string) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	address := "unix:" + filepath.Join(t.TempDir(), "e.sock")
	lis, err := Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, address
}

// dial connects to the target, retries nothing, and reports the frames it receives to spy, if any.
func dial(t *testing.T, address string, spy *spy) *grpc.ClientConn {
	t.Helper()
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
			if err != nil || spy == nil {
				return c, err
			}
			return spy.on(c), nil
		}),
	}
	cc, err := grpc.NewClient("passthrough:///"+address[len("unix:"):], opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

func client(t *testing.T, address string) signerv1.SignerServiceClient {
	t.Helper()
	return signerv1.NewSignerServiceClient(dial(t, address, nil))
}

// limited is a context that ends before a hanging test becomes a nuisance.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// spy reads along with a client and tells of two kinds of frames.
type spy struct {
	resets chan http2.ErrCode // RST_STREAM
	limits chan uint32        // SETTINGS_MAX_CONCURRENT_STREAMS
}

func newSpy() *spy {
	return &spy{resets: make(chan http2.ErrCode, 10_000), limits: make(chan uint32, 10_000)}
}

// spied is a client's connection; what it reads goes to a second reader of frames as well.
type spied struct {
	net.Conn
	copy *io.PipeWriter
}

func (s *spy) on(c net.Conn) net.Conn {
	r, w := io.Pipe()
	go func() {
		fr := http2.NewFramer(nil, r)
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				r.CloseWithError(err)
				return
			}
			switch f := f.(type) {
			case *http2.RSTStreamFrame:
				s.resets <- f.ErrCode
			case *http2.SettingsFrame:
				if v, ok := f.Value(http2.SettingMaxConcurrentStreams); ok {
					s.limits <- v
				}
			}
		}
	}()
	return spied{c, w}
}

func (s spied) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 {
		if _, werr := s.copy.Write(p[:n]); werr != nil && err == nil {
			err = werr // malformed frames: the test shall notice
		}
	}
	return n, err
}

func (s spied) Close() error {
	s.copy.CloseWithError(net.ErrClosed)
	return s.Conn.Close()
}

// next returns what comes from c.
func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("not reached")
	}
}
