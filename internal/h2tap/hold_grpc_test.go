package h2tap

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// While its warning is held, grpc-go's server takes new calls, and gRPC makes them on the connection. With the release the
// server's stop goes through.
func TestAServerTakesCallsUntilItsWarningIsReleased(t *testing.T) {
	serverTLS, clientTLS := tlsConfigs(t)
	for _, tt := range []struct {
		name           string
		server, client credentials.TransportCredentials
		options        []grpc.DialOption
	}{
		{"plaintext", insecure.NewCredentials(), insecure.NewCredentials(), nil},
		{"plaintext, no read buffer", insecure.NewCredentials(), insecure.NewCredentials(), []grpc.DialOption{grpc.WithReadBufferSize(0)}},
		{"TLS", credentials.NewTLS(serverTLS), credentials.NewTLS(clientTLS), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("unix", t.TempDir()+"/s")
			if err != nil {
				t.Fatal(err)
			}
			srv := grpc.NewServer(grpc.Creds(tt.server))
			healthpb.RegisterHealthServer(srv, health.NewServer())
			go srv.Serve(l)
			defer srv.Stop()

			warned := make(chan struct{})
			rec := &recorder{hold: time.Hour, asked: func() { close(warned) }}
			taps := make(chan *Conn, 1)
			creds := tappingCredentials{tt.client, func(c net.Conn) net.Conn {
				tap := New(c, rec)
				taps <- tap
				return tap
			}}
			cc, err := grpc.NewClient("unix:"+l.Addr().String(), append([]grpc.DialOption{grpc.WithTransportCredentials(creds)}, tt.options...)...)
			if err != nil {
				t.Fatal(err)
			}
			defer cc.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			call := func() error {
				_, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{})
				return err
			}
			if err := call(); err != nil {
				t.Fatal(err)
			}
			tap := <-taps
			stopped := make(chan struct{})
			go func() {
				srv.GracefulStop() // closes the listener first
				close(stopped)
			}()
			<-warned
			for range 100 {
				if err := call(); err != nil {
					t.Fatalf("a call while the warning is held: %v", err)
				}
			}
			if s := cc.GetState(); s != connectivity.Ready {
				t.Errorf("the connection is %v", s)
			}
			select {
			case <-stopped:
				t.Error("the server stopped though it has not been answered")
			default:
			}
			tap.Release()
			select {
			case <-stopped:
			case <-time.After(4 * time.Second): // the server's own patience is 5 s
				t.Error("the server waits for the answer to its PING")
			}
		})
	}
}
