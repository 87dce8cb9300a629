package pooltest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// everyKind runs a test on a socket and in memory.
func everyKind(t *testing.T, test func(t *testing.T, start func(testing.TB, func(*grpc.Server), ...Option) *Enclave)) {
	t.Run("socket", func(t *testing.T) { test(t, Start) })
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, NewMemory) })
	})
}

func TestAnEnclaveServesAndItsHealthCanBeSet(t *testing.T) {
	everyKind(t, func(t *testing.T, start func(testing.TB, func(*grpc.Server), ...Option) *Enclave) {
		e := start(t, nil)
		cc := client(t, e)
		for _, want := range []grpc_health_v1.HealthCheckResponse_ServingStatus{
			grpc_health_v1.HealthCheckResponse_SERVING,
			grpc_health_v1.HealthCheckResponse_NOT_SERVING,
			grpc_health_v1.HealthCheckResponse_SERVING,
		} {
			e.SetServing(want == grpc_health_v1.HealthCheckResponse_SERVING)
			if got, err := check(t.Context(), cc); err != nil || got.Status != want {
				t.Errorf("Check = %v, %v; want %v", got, err, want)
			}
		}
		if e.Conns() != 1 || e.Accepted() != 1 {
			t.Errorf("Conns, Accepted = %d, %d; want 1, 1", e.Conns(), e.Accepted())
		}
	})
}

func TestWithoutHealthServiceAChecksIsUnimplemented(t *testing.T) {
	e := Start(t, nil, WithoutHealthService())
	if _, err := check(t.Context(), client(t, e)); status.Code(err) != codes.Unimplemented {
		t.Errorf("Check: %v; want Unimplemented", err)
	}
}

func TestStopCutsConnectionsAndRestartListensAgain(t *testing.T) {
	everyKind(t, func(t *testing.T, start func(testing.TB, func(*grpc.Server), ...Option) *Enclave) {
		registered := 0
		e := start(t, func(*grpc.Server) { registered++ })
		raw, err := e.Dialer()(t.Context(), e.Target())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		accepted(t, e, 1)
		e.Stop()
		if _, err := io.Copy(io.Discard, raw); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the connection ended with %v; want EOF or ECONNRESET", err)
		}
		if _, err := e.Dialer()(t.Context(), e.Target()); err == nil {
			t.Error("a stopped enclave was dialled")
		}
		e.Stop() // does nothing
		if e.Conns() != 0 {
			t.Errorf("Conns = %d after Stop", e.Conns())
		}
		e.Restart()
		if _, err := check(t.Context(), client(t, e)); err != nil {
			t.Errorf("after Restart: %v", err)
		}
		if registered != 2 || e.Accepted() != 2 {
			t.Errorf("registered %d times, accepted %d; want 2, 2", registered, e.Accepted())
		}
	})
}

// accepted waits until the enclave has n connections.
func accepted(t *testing.T, e *Enclave, n int) {
	t.Helper()
	eventually(t, "connections accepted", func() bool { return e.Conns() == n })
}

func TestDropConnsClosesTheOldestAndSaysHowMany(t *testing.T) {
	everyKind(t, func(t *testing.T, start func(testing.TB, func(*grpc.Server), ...Option) *Enclave) {
		e := start(t, nil)
		var conns []net.Conn
		for i := range 3 {
			c, err := e.Dialer()(t.Context(), e.Target())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conns = append(conns, c)
			accepted(t, e, i+1)
		}
		if n := e.DropConns(2); n != 2 || e.Conns() != 1 {
			t.Fatalf("DropConns(2) = %d, %d left; want 2, 1", n, e.Conns())
		}
		for _, c := range conns[:2] {
			if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("dropped connection: %v", err)
			}
		}
		if n := e.DropConns(5); n != 1 || e.Conns() != 0 {
			t.Errorf("DropConns(5) = %d, %d left; want 1, 0", n, e.Conns())
		}
		if n := e.DropConns(-1); n != 0 {
			t.Errorf("DropConns(-1) = %d", n)
		}
	})
}

func TestNothingMovesWhileFrozen(t *testing.T) {
	everyKind(t, func(t *testing.T, start func(testing.TB, func(*grpc.Server), ...Option) *Enclave) {
		e := start(t, nil)
		cc := client(t, e)
		if _, err := check(t.Context(), cc); err != nil {
			t.Fatal(err)
		}
		e.Freeze()
		e.Freeze() // does nothing
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := check(ctx, cc); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("Check of a frozen enclave: %v; want DeadlineExceeded", err)
		}
		c, err := e.Dialer()(t.Context(), e.Target())
		if err != nil {
			t.Fatalf("a frozen enclave's host still completes connects: %v", err)
		}
		defer c.Close()
		if e.Accepted() != 1 {
			t.Errorf("Accepted = %d while frozen; want 1", e.Accepted())
		}
		e.Thaw()
		e.Thaw() // does nothing
		if _, err := check(t.Context(), cc); err != nil {
			t.Errorf("after Thaw: %v", err)
		}
		accepted(t, e, 2)
	})
}

func TestAFrozenEnclaveCanBeStoppedAndComesBackThawed(t *testing.T) {
	everyKind(t, func(t *testing.T, start func(testing.TB, func(*grpc.Server), ...Option) *Enclave) {
		e := start(t, nil)
		cc := client(t, e)
		if _, err := check(t.Context(), cc); err != nil {
			t.Fatal(err)
		}
		e.Freeze()
		e.Restart()
		// The first may still go out on the connection that has just been cut.
		eventually(t, "a Check succeeds after Restart", func() bool {
			_, err := check(t.Context(), cc)
			return err == nil
		})
	})
}

// blocking serves UnaryCall until its context ends.
type blocking struct {
	grpc_testing.UnimplementedTestServiceServer
	entered chan struct{}
}

func (b blocking) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	close(b.entered)
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestStopEndsTheContextsOfHandlers(t *testing.T) {
	b := blocking{entered: make(chan struct{})}
	e := Start(t, func(s *grpc.Server) { grpc_testing.RegisterTestServiceServer(s, b) })
	failed := make(chan error, 1)
	cc := client(t, e)
	go func() {
		_, err := grpc_testing.NewTestServiceClient(cc).UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		failed <- err
	}()
	<-b.entered
	e.Stop()
	if err := <-failed; status.Code(err) != codes.Unavailable {
		t.Errorf("call in flight: %v; want Unavailable", err)
	}
	// That the handler returns is what the test's end waits for.
}

// finishing serves UnaryCall until it is told to answer.
type finishing struct {
	grpc_testing.UnimplementedTestServiceServer
	entered, finish chan struct{}
}

func (f finishing) UnaryCall(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	close(f.entered)
	<-f.finish
	return &grpc_testing.SimpleResponse{}, nil
}

func TestGracefulStopLetsCallsFinish(t *testing.T) {
	f := finishing{entered: make(chan struct{}), finish: make(chan struct{})}
	e := Start(t, func(s *grpc.Server) { grpc_testing.RegisterTestServiceServer(s, f) })
	result := make(chan error, 1)
	cc := client(t, e)
	go func() {
		_, err := grpc_testing.NewTestServiceClient(cc).UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
		result <- err
	}()
	<-f.entered
	stopped := make(chan struct{})
	go func() { e.GracefulStop(); close(stopped) }()
	eventually(t, "the listener is closed", func() bool {
		c, err := e.Dialer()(t.Context(), e.Target())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case <-stopped:
		t.Error("GracefulStop returned with a call in flight")
	default:
	}
	close(f.finish)
	<-stopped
	if err := <-result; err != nil {
		t.Errorf("call in flight: %v; want it to finish", err)
	}
}

func TestWithMaxConcurrentStreamsTheThirdOfTwoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewMemory(t, nil, WithMaxConcurrentStreams(2))
		cc := client(t, e)
		if _, err := check(t.Context(), cc); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 2 {
			if _, err := grpc_health_v1.NewHealthClient(cc).Watch(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		short, cancelShort := context.WithTimeout(ctx, time.Second)
		defer cancelShort()
		if _, err := check(short, cc); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("third stream: %v; want DeadlineExceeded", err)
		}
	})
}

func TestALongTestNameDoesNotMakeTheSocketsPathTooLong(t *testing.T) {
	t.Run(strings.Repeat("long", 60), func(t *testing.T) {
		e := Start(t, nil)
		path := strings.TrimPrefix(e.Target(), "unix:")
		if _, err := os.Stat(path); err != nil || len(path) > maxSocketPath {
			t.Errorf("path of %d bytes: %v", len(path), err)
		}
	})
}

func TestADialerKnowsItsOwnTargetsOnly(t *testing.T) {
	a, b := NewMemory(t, nil), NewMemory(t, nil)
	if _, err := a.Dialer()(t.Context(), b.Target()); err == nil {
		t.Error("a's dialer reached b")
	}
	both := DialerFor(a, b)
	for _, e := range []*Enclave{a, b} {
		c, err := both(t.Context(), e.Target())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		accepted(t, e, 1)
	}
}
