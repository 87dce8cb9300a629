package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// Signing is callers who sign with keys that were acknowledged, through every gateway. A call that fails is not repeated.
type Signing struct {
	f    *Fleet
	from *Creating

	perGateway []signed
	mu         sync.Mutex
	broken     []error
}

type signed struct{ ok, refused, draining atomic.Int64 }

// NewSigning returns one that signs with the keys that c makes.
func (f *Fleet) NewSigning(c *Creating) *Signing {
	return &Signing{f: f, from: c, perGateway: make([]signed, len(f.Gateways))}
}

// Run signs from so many callers for each gateway until ctx ends. Each pauses between two calls.
func (s *Signing) Run(ctx context.Context, callers int, pause time.Duration) {
	var wg sync.WaitGroup
	for i, g := range s.f.Gateways {
		for range callers {
			wg.Go(func() { s.calls(ctx, g, &s.perGateway[i], pause) })
		}
	}
	wg.Wait()
}

// keysAtOnce is after how many calls a caller looks for new keys.
const keysAtOnce = 200

func (s *Signing) calls(ctx context.Context, g *Gateway, n *signed, pause time.Duration) {
	for ctx.Err() == nil {
		keys := s.from.Keys()
		names := make([]string, 0, len(keys))
		for name := range keys {
			names = append(names, name)
		}
		if len(names) == 0 {
			wait(ctx, 10*time.Millisecond)
			continue
		}
		for range keysAtOnce {
			name := names[rand.IntN(len(names))]
			call, cancel := context.WithTimeout(ctx, createTimeout)
			err := g.SignOnce(call, name, keys[name])
			cancel()
			if ctx.Err() != nil {
				return
			}
			s.note(n, err)
			wait(ctx, pause)
		}
	}
}

// note counts an outcome. What is refused may be asked for again, and the refusal of an enclave that drains says when.
func (s *Signing) note(n *signed, err error) {
	switch {
	case err == nil:
		n.ok.Add(1)
		return
	case !Retryable(err):
	case reason(err) != "ENCLAVE_DRAINING":
		n.refused.Add(1)
		return
	case RetryAfter(err) > 0:
		n.draining.Add(1)
		return
	default:
		err = fmt.Errorf("a drain does not say when to come back: %w", err)
	}
	s.mu.Lock()
	s.broken = append(s.broken, err)
	s.mu.Unlock()
}

// reason is that of an error's google.rpc.ErrorInfo; "": there is none.
func reason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// Signed is how many calls have come to which end: made, refused with a word that allows to repeat them, and refused by
// an enclave that drains.
type Signed struct{ OK, Refused, Draining int64 }

// Minus is what has come since t.
func (s Signed) Minus(t Signed) Signed {
	return Signed{s.OK - t.OK, s.Refused - t.Refused, s.Draining - t.Draining}
}

// Of is what has come so far through one gateway.
func (s *Signing) Of(gateway int) Signed {
	n := &s.perGateway[gateway]
	return Signed{n.ok.Load(), n.refused.Load(), n.draining.Load()}
}

// Broken returns the errors that nothing excuses.
func (s *Signing) Broken() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.broken)
}
