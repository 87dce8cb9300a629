package faults

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// attemptCounter counts the attempts that gRPC makes for each call whose context has a counter.
type attemptCounter struct{}

type counterKey struct{}

// counted gives a call a counter.
func counted(ctx context.Context) (context.Context, *atomic.Int32) {
	n := new(atomic.Int32)
	return context.WithValue(ctx, counterKey{}, n), n
}

// TagRPC implements stats.Handler.
func (attemptCounter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (attemptCounter) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.Begin); !ok {
		return
	}
	if n, ok := ctx.Value(counterKey{}).(*atomic.Int32); ok {
		n.Add(1)
	}
}

// TagConn implements stats.Handler.
func (attemptCounter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (attemptCounter) HandleConn(context.Context, stats.ConnStats) {}

// extra is how many attempts the calls took beyond the first of each.
func (cs calls) extra() (n int) {
	for _, c := range cs {
		n += max(0, c.attempts-1)
	}
	return n
}
