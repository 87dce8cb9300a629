package h2tap

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
)

// tappingCredentials puts a tap on what the handshake returns, as the pool does.
type tappingCredentials struct {
	credentials.TransportCredentials
	tap func(net.Conn) net.Conn
}

func (c tappingCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	return c.tap(conn), info, nil
}

func (c tappingCredentials) Clone() credentials.TransportCredentials {
	return tappingCredentials{c.TransportCredentials.Clone(), c.tap}
}

// readCounter counts which of the tap's two reads gRPC uses.
type readCounter struct {
	*Conn
	reads, readies atomic.Int64
}

func (c *readCounter) Read(p []byte) (int, error) {
	c.reads.Add(1)
	return c.Conn.Read(p)
}

func (c *readCounter) ReadOnReady(size int, pool mem.BufferPool) (*[]byte, int, error) {
	c.readies.Add(1)
	return c.Conn.ReadOnReady(size, pool)
}

// waitingRecorder lets a test wait for Closed.
type waitingRecorder struct {
	recorder
	ended chan struct{}
}

func (r *waitingRecorder) Closed(err error) {
	r.recorder.Closed(err)
	close(r.ended) // a second call panics
}

func TestGRPCReadsThroughTheTap(t *testing.T) {
	serverTLS, clientTLS := tlsConfigs(t)
	for _, tt := range []struct {
		name    string
		server  credentials.TransportCredentials
		client  credentials.TransportCredentials
		options []grpc.DialOption
		ready   bool // by ReadOnReady alone, else by Read alone
		raw     bool // and from the socket, with no buffer held in between
	}{
		{"plaintext", insecure.NewCredentials(), insecure.NewCredentials(), nil, true, true},
		{"plaintext, no read buffer", insecure.NewCredentials(), insecure.NewCredentials(), []grpc.DialOption{grpc.WithReadBufferSize(0)}, false, true},
		{"TLS", credentials.NewTLS(serverTLS), credentials.NewTLS(clientTLS), nil, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("unix", t.TempDir()+"/s")
			if err != nil {
				t.Fatal(err)
			}
			srv := grpc.NewServer(grpc.Creds(tt.server), grpc.MaxConcurrentStreams(7),
				grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return nil }))
			healthpb.RegisterHealthServer(srv, health.NewServer())
			served := make(chan error, 1)
			go func() { served <- srv.Serve(l) }()
			defer srv.Stop()

			rec := &waitingRecorder{ended: make(chan struct{})}
			conns := make(chan *readCounter, 1)
			creds := tappingCredentials{tt.client, func(c net.Conn) net.Conn {
				counter := &readCounter{Conn: New(c, rec)}
				conns <- counter
				return counter
			}}
			options := append([]grpc.DialOption{grpc.WithTransportCredentials(creds)}, tt.options...)
			cc, err := grpc.NewClient("unix:"+l.Addr().String(), options...)
			if err != nil {
				t.Fatal(err)
			}
			defer cc.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()

			// A stream the server ends while our side is open: it sends RST_STREAM after the trailers.
			stream, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/any/Stream")
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.RecvMsg(&healthpb.HealthCheckResponse{}); err != io.EOF {
				t.Fatal(err)
			}
			for range 10 {
				if _, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
					t.Fatal(err)
				}
			}
			tap := <-conns
			if got, want := rec.heard(), []string{"limit 7", "settings", "reset 1 NO_ERROR"}; !slices.Equal(got, want) {
				t.Errorf("heard %q, want %q", got, want)
			}
			// At least SETTINGS, its acknowledgement, and HEADERS, DATA, HEADERS for each Check.
			if got := tap.FramesRead(); got < 2+3*10 {
				t.Errorf("%d frames", got)
			}
			if got := tap.SinceRead(); got < 0 || got > time.Minute {
				t.Errorf("SinceRead %v", got)
			}
			if reads, readies := tap.reads.Load(), tap.readies.Load(); (reads == 0) != tt.ready || (readies > 0) != tt.ready {
				t.Errorf("gRPC called Read %d and ReadOnReady %d times", reads, readies)
			}
			if _, plain := tap.ready.(plainReader); plain == tt.raw {
				t.Errorf("read by %T", tap.ready)
			}

			srv.GracefulStop()
			if err := <-served; err != nil {
				t.Error(err)
			}
			cc.Close()
			events := rec.heard()
			if !slices.ContainsFunc(events, func(e string) bool { return e == `goaway 2147483647 NO_ERROR "graceful_stop"` }) {
				t.Errorf("no GOAWAY of a graceful stop in %q", events)
			}
			<-rec.ended // gRPC may close the connection from a goroutine of its own
			if got := rec.closedWith(); len(got) != 1 {
				t.Errorf("Closed %v", got)
			} else if !errors.Is(got[0], io.EOF) && !errors.Is(got[0], net.ErrClosed) {
				t.Errorf("Closed with %v", got[0])
			}
		})
	}
}

func TestTheTapHearsWhatTLSDecrypts(t *testing.T) {
	serverTLS, clientTLS := tlsConfigs(t)
	near, far := net.Pipe()
	client, server := tls.Client(near, clientTLS), tls.Server(far, serverTLS)
	sent := make(chan error, 1)
	go func() {
		defer far.Close()
		for _, p := range splitEvery(slices.Concat(settings7, raw(3, 0, 5, "\x00\x00\x00\x08"), raw(7, 0, 0, "\x00\x00\x00\x05\x00\x00\x00\x00max_age")), 5) {
			if _, err := server.Write(p); err != nil {
				sent <- err
				return
			}
		}
		sent <- server.Close()
	}()
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	rec := &recorder{}
	c := New(client, rec)
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	c.Close()
	want := []string{"limit 7", "settings", "reset 5 CANCEL", `goaway 5 NO_ERROR "max_age"`}
	if got := rec.heard(); !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	if got := rec.closedWith(); !slices.Equal(got, []error{io.EOF}) {
		t.Errorf("Closed %v", got)
	}
}

func splitEvery(p []byte, n int) [][]byte { return slices.Collect(slices.Chunk(p, n)) }
