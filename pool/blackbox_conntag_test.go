package pool_test

import (
	"context"
	"strconv"
	"sync/atomic"

	"google.golang.org/grpc"
	grpcstats "google.golang.org/grpc/stats"
)

// connTags makes a server number its connections, for connOf: by their
// addresses they cannot be told apart.
func connTags() grpc.ServerOption { return grpc.StatsHandler(&connTagger{}) }

type connTagger struct{ n atomic.Int64 }

type connTagKey struct{}

// connOf returns the number of the connection that a call came in on.
func connOf(ctx context.Context) string {
	tag, _ := ctx.Value(connTagKey{}).(string)
	return tag
}

func (t *connTagger) TagConn(ctx context.Context, _ *grpcstats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connTagKey{}, strconv.FormatInt(t.n.Add(1), 10))
}

func (*connTagger) TagRPC(ctx context.Context, _ *grpcstats.RPCTagInfo) context.Context { return ctx }
func (*connTagger) HandleConn(context.Context, grpcstats.ConnStats)                     {}
func (*connTagger) HandleRPC(context.Context, grpcstats.RPCStats)                       {}
