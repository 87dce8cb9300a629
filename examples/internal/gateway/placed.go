package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

const (
	// DefaultDirectoryCache is how many places are kept in memory when Config does not say.
	DefaultDirectoryCache = 1 << 20
	// placedRetryAfter is the wait that is proposed where no enclave takes new keys.
	placedRetryAfter = 200 * time.Millisecond
)

// placed sends keys where the directory says that they live. It knows from its trip whether a request makes its key.
type placed struct {
	*routing.Placed
	base routing.Selector
}

// newPlaced is nil without a directory.
func newPlaced(cfg Config) *placed {
	if cfg.Directory == nil {
		return nil
	}
	if cfg.DirectoryCache == 0 {
		cfg.DirectoryCache = DefaultDirectoryCache
	}
	opts := []routing.PlacedOption{
		routing.WithCacheSize(cfg.DirectoryCache),
		routing.WithNotify(func(s routing.PlacedState) { logState(cfg.Logger, s) }),
	}
	if cfg.MirrorDirectory {
		opts = append(opts, routing.WithMirror())
	}
	return &placed{routing.NewPlaced(cfg.Selector, cfg.Directory, opts...), cfg.Selector}
}

// Close ends the watch. The error is nil.
func (p *placed) Close() error {
	if p == nil {
		return nil
	}
	return p.Placed.Close()
}

func logState(log *slog.Logger, s routing.PlacedState) {
	switch s {
	case routing.PlacedCurrent:
		log.Info("the placement directory is being watched")
	case routing.PlacedStale:
		log.Warn("the placement directory is away: keys that are known go on, others and new ones have to wait")
	case routing.PlacedExpired:
		log.Error("the placement directory has been away for too long: no key is served")
	}
}

// Select implements routing.Selector.
func (p *placed) Select(ctx context.Context, v *routing.View, key string) (string, error) {
	t := tripOf(ctx)
	if t == nil || !t.creates {
		return p.Placed.Select(ctx, v, key)
	}
	ctx = routing.WithPlacing(ctx)
	id, err := p.Placed.Select(ctx, v, key)
	if !errors.Is(err, routing.ErrNoMember) {
		return id, err
	}
	// No enclave is Healthy. One that was lost is likely to be back before the pool gives up waiting for it, so the key gets
	// its place there.
	id, err = p.Placed.Select(ctx, without(v, func(m routing.Member) bool { return m.Cordoned || m.State == breaker.Draining }), key)
	if err != nil {
		return "", err
	}
	return "", &routing.OwnerError{EnclaveID: id, State: breaker.Degraded, RetryAfter: placedRetryAfter}
}

// without returns v without some of its members; the others seem to be Healthy.
func without(v *routing.View, out func(routing.Member) bool) *routing.View {
	var rest []routing.Member
	for _, m := range v.Members() {
		if !out(m) {
			m.State = breaker.Healthy
			rest = append(rest, m)
		}
	}
	return routing.NewView(v.Seq(), rest...)
}

// wouldPlace is where a key that has no place would get one.
func (p *placed) wouldPlace(ctx context.Context, v *routing.View, key string) (string, error) {
	return p.base.Select(ctx, without(v, func(m routing.Member) bool { return m.Cordoned || m.State != breaker.Healthy }), key)
}

// isReady tells whether the directory has been read as far as it has to be.
func (p *placed) isReady() bool {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	return p == nil || p.Ready(ended) == nil
}
