package pool_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// moody is a health service that answers as it is told to.
type moody struct {
	grpc_health_v1.UnimplementedHealthServer
	says atomic.Pointer[status.Status]
}

func (m *moody) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	if s := m.says.Load(); s != nil {
		return nil, s.Err()
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func moodyPool(t *testing.T, m *moody, opts ...pool.Option) *pool.Pool {
	t.Helper()
	e := pooltest.NewMemory(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, m) }, pooltest.WithoutHealthService())
	p := newPool(t, config(e), append([]pool.Option{pool.WithDialer(e.Dialer())}, opts...)...)
	ready(t, p)
	synctest.Wait()
	return p
}

func TestAHealthServiceThatAnswersUnavailableDoesNotStayInRotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := &moody{}
		p := moodyPool(t, m)
		m.says.Store(status.New(codes.Unavailable, "not now"))
		time.Sleep(10 * time.Second)
		if s := stats(p, "a"); s.HealthyConns != 0 || s.Ejections == 0 {
			t.Errorf("%d Healthy, %d ejections after 10s of failing checks", s.HealthyConns, s.Ejections)
		}
	})
}

func TestWhatAnEnclaveSaysReachesTheLogInBounds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var out logBuffer
		m := &moody{}
		p := moodyPool(t, m, pool.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
		m.says.Store(status.New(codes.Internal, "\x1b[31mforged\n"+strings.Repeat("A", 32<<10)))
		time.Sleep(10 * time.Second)
		if s := stats(p, "a"); s.Ejections == 0 || s.Cause == nil || len(s.Cause.Error()) > 1024 || strings.Contains(s.Cause.Error(), "\x1b") {
			t.Errorf("%d ejections, cause %.80q of %d bytes", s.Ejections, s.Cause, len(s.Cause.Error()))
		}
		if n := len(out.String()); n > 20_000 {
			t.Errorf("%d bytes of log in 10s", n)
		}
	})
}

func TestAPeerThatStopsReadingDelaysNeitherDrainNorClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := config()
		cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "deaf"}}
		cfg.MinConns, cfg.MaxConns, cfg.Health.Disabled = 8, 8, true
		p := newPool(t, cfg, pool.WithDialer(func(context.Context, string) (net.Conn, error) {
			client, server := net.Pipe() // a write waits for its reader
			go func() {
				// The preface and the header of the client's SETTINGS, which tells its length.
				start := make([]byte, 24+9)
				if _, err := io.ReadFull(server, start); err == nil {
					_, _ = io.CopyN(io.Discard, server, int64(start[24])<<16|int64(start[25])<<8|int64(start[26]))
					_, _ = server.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}) // SETTINGS, and nothing more
				}
			}()
			return client, nil
		}))
		ready(t, p)
		synctest.Wait()
		start := time.Now()
		if err := p.Drain(within(t, patience), "a"); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("Drain with nothing in flight took %v", took)
		}
		start = time.Now()
		if err := p.Close(within(t, patience)); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("Close took %v", took)
		}
	})
}

func TestGrowthSurvivesThatTheConnectionItWaitedForIsResizedAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register)
		dial, refuse := e.Dialer(), false
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 1, 4, 4
		p := newPool(t, cfg, pool.WithDialer(func(ctx context.Context, target string) (net.Conn, error) {
			if refuse {
				return nil, context.DeadlineExceeded
			}
			return dial(ctx, target)
		}))
		ready(t, p)
		synctest.Wait()
		refuse = true
		release := leases(t, p, 4) // wants another connection, and cannot have it
		time.Sleep(time.Second)
		release()
		if err := p.Resize("a", 1, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		refuse = false
		if err := p.Resize("a", 1, 4); err != nil {
			t.Fatal(err)
		}
		defer leases(t, p, 12)()
		if s := stats(p, "a"); s.HealthyConns < 3 {
			t.Errorf("%d connections for 12 leases of 4 each", s.HealthyConns)
		}
	})
}
