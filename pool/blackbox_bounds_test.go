package pool_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

func TestAMessageOfTheLimitPassesAndOneByteMoreDoesNot(t *testing.T) {
	const limit = 4 << 20
	size := limit
	for proto.Size(&grpc_testing.StreamingOutputCallResponse{Payload: body(size)}) > limit {
		size--
	}
	for extra, want := range []codes.Code{codes.OK, codes.ResourceExhausted} {
		bubble(t, func(t *testing.T) {
			e := pooltest.NewMemory(t, (&service{}).register)
			p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
			ready(t, p)
			s, err := client(p, "a").StreamingOutputCall(within(t, patience), &grpc_testing.StreamingOutputCallRequest{
				ResponseParameters: []*grpc_testing.ResponseParameters{{Size: int32(size + extra)}}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Recv(); status.Code(err) != want {
				t.Errorf("a message of the limit and %d bytes: %v, want %v", extra, err, want)
			}
		})
	}
}

func TestHeadersOfTheLimitPassAndLongerOnesDoNot(t *testing.T) {
	// What RFC 9113 counts: names, values, and 32 for each of :status 200, content-type application/grpc, x-header.
	const limit = 64<<10 - (7 + 3 + 32) - (12 + 16 + 32) - (8 + 32)
	for extra, want := range []codes.Code{codes.OK, codes.Internal} {
		bubble(t, func(t *testing.T) {
			e := pooltest.NewMemory(t, (&service{}).register)
			p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
			ready(t, p)
			ctx := metadata.AppendToOutgoingContext(within(t, patience), "x-echo", strings.Repeat("x", limit+extra))
			if _, err := client(p, "a").EmptyCall(ctx, &grpc_testing.Empty{}); status.Code(err) != want {
				t.Errorf("headers of the limit and %d bytes: %v, want %v", extra, err, want)
			}
			if _, err := client(p, "a").EmptyCall(within(t, patience), &grpc_testing.Empty{}); err != nil || stats(p, "a").Reconnects > 0 {
				t.Errorf("after that: %v, %d reconnects", err, stats(p, "a").Reconnects)
			}
		})
	}
}

// wordy is a health service whose answer has a size.
type wordy struct {
	grpc_health_v1.UnimplementedHealthServer
	size atomic.Int64
}

func (w *wordy) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	r := &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}
	pad := int(w.size.Load()) - proto.Size(r) - 3 // a tag of a byte, and a length of two
	r.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), make([]byte, pad)))
	return r, nil
}

func TestAHealthCheckHasFourKiBForItsAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := &wordy{}
		w.size.Store(4 << 10)
		e := pooltest.NewMemory(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, w) }, pooltest.WithoutHealthService())
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
		ready(t, p)
		time.Sleep(10 * time.Second)
		if n := stats(p, "a").Ejections; n > 0 {
			t.Errorf("%d ejections", n)
		}
		w.size.Add(1)
		time.Sleep(10 * time.Second)
		if s := stats(p, "a"); s.Ejections == 0 || s.HealthyConns > 0 {
			t.Errorf("one byte more: %d ejections, %d Healthy", s.Ejections, s.HealthyConns)
		}
	})
}

func TestAnEnclaveThatHangsUpIsNotDialledWithoutEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register)
		dial := e.Dialer()
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 32, 32
		p := newPool(t, cfg, pool.WithDialer(func(ctx context.Context, target string) (net.Conn, error) {
			c, err := dial(ctx, target)
			if err == nil {
				time.AfterFunc(60*time.Millisecond, func() { c.Close() })
			}
			return c, err
		}))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { // answered calls make a successor be dialled at once
			defer close(done)
			for ctx.Err() == nil {
				_, _ = client(p, "a").EmptyCall(ctx, &grpc_testing.Empty{})
				time.Sleep(time.Millisecond)
			}
		}()
		time.Sleep(10 * time.Second)
		stop()
		<-done
		synctest.Wait()
		if n := stats(p, "a").Dials; n < 500 || n > 64+10*100+1 {
			t.Errorf("%d connections dialled in 10s, want at most 100 a second beyond the first 64", n)
		}
	})
}

func TestAllConnectionsOfALargeEnclaveAreDialledAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register)
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 200, 400
		p := newPool(t, cfg, pool.WithDialer(e.Dialer()))
		start := time.Now()
		ready(t, p)
		if err := p.Resize("a", 400, 400); err != nil {
			t.Fatal(err)
		}
		ready(t, p)
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("200 connections and then 400 took %v", took)
		}
	})
}

func TestAnIDOfTheLimitIsValidAndALongerOneIsNot(t *testing.T) {
	for extra, want := range []bool{true, false} {
		cfg := pool.DefaultConfig()
		cfg.Enclaves = []pool.Enclave{{ID: strings.Repeat("x", 128+extra), Target: "vsock:16:5000"}}
		if err := cfg.Validate(); (err == nil) != want || err != nil && !errors.Is(err, pool.ErrConfig) {
			t.Errorf("an ID of %d: %v", 128+extra, err)
		}
	}
}
