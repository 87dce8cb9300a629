package enclave

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

const healthPrefix = "/grpc.health.v1.Health/"

// errReset says that the call's stream was reset: nothing said on it reaches the client any more.
var errReset = errors.New("stream reset by a fault")

// origin is where a call came from: what a fault needs to reset or drop it.
type origin struct {
	conn   *conn
	stream uint32
}

type originKey struct{}

// tap notes where a call came from. gRPC calls it from the goroutine that reads the connection, while
// it handles the HEADERS that opened the stream, so conn.opened is that stream.
func (s *Server) tap(ctx context.Context, _ *tap.Info) (context.Context, error) {
	if c := connOf(ctx); c != nil {
		ctx = context.WithValue(ctx, originKey{}, origin{c, c.opened})
	}
	return ctx, nil
}

// act lets a call meet the faults in force. It returns nil when the call is to be handled, errReset
// when its stream is gone and otherwise the status to answer with.
func (s *Server) act(ctx context.Context) error {
	f := s.faults.Load()
	call := s.calls.Add(1)
	if f.quiet {
		return nil
	}
	from, _ := ctx.Value(originKey{}).(origin)
	if f.DropEveryCalls > 0 && call%f.DropEveryCalls == 0 && from.conn != nil {
		s.dropConn(from.conn, "every n-th call")
		return status.Error(codes.Unavailable, "connection dropped by a fault")
	}
	if meets(f.StallFraction) {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	if f.Delay > 0 && meets(f.DelayFraction) {
		if err := wait(ctx, f.Delay); err != nil {
			return status.FromContextError(err).Err()
		}
	}
	if from.conn != nil && meets(f.ResetFraction) {
		s.count.resets.Add(1)
		from.conn.reset(from.stream, f.ResetCode)
		return errReset
	}
	if meets(f.RefuseFraction) {
		return status.Error(f.RefuseCode, "refused by a fault")
	}
	return nil
}

// meets decides whether one call is among the share.
func meets(share float64) bool { return share > 0 && (share >= 1 || rand.Float64() < share) }

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exempt reports whether calls of the method meet no faults: those of the health service, unless the
// faults say otherwise, and SignStream, whose messages meet them one by one.
func (s *Server) exempt(method string) bool {
	if strings.HasPrefix(method, healthPrefix) {
		return !s.faults.Load().HealthToo
	}
	return method == signerv1.SignerService_SignStream_FullMethodName
}

func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	s.count.rpc(info.FullMethod)
	if !s.exempt(info.FullMethod) {
		if err := s.actOnCall(ctx); err != nil {
			return nil, err
		}
	}
	return next(ctx, req)
}

func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	s.count.rpc(info.FullMethod)
	if !s.exempt(info.FullMethod) {
		if err := s.actOnCall(ss.Context()); err != nil {
			return err
		}
	}
	return next(srv, ss)
}

func (s *Server) actOnCall(ctx context.Context) error {
	err := s.act(ctx)
	if errors.Is(err, errReset) {
		<-ctx.Done() // the transport has been told that the client reset the stream
	}
	return err
}
