package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// createTimeout is the deadline of one call.
const createTimeout = 3 * time.Second

// Creating makes keys through the gateways from several callers at once: one that is refused is asked for again, under the
// same name, until it is acknowledged.
type Creating struct {
	// Acknowledged counts the keys that have been, Refused the calls that failed in a way that allows to repeat them.
	Acknowledged, Refused atomic.Int64

	f      *Fleet
	prefix string

	mu     sync.Mutex
	keys   map[string][]byte // public keys, by name
	broken []error
}

// NewCreating returns one that has made nothing yet; the keys' names begin with prefix.
func (f *Fleet) NewCreating(prefix string) *Creating {
	return &Creating{f: f, prefix: prefix, keys: map[string][]byte{}}
}

// Run makes n more keys, or as many as there is time for; n of 0: until ctx ends. It pauses after each.
func (c *Creating) Run(ctx context.Context, n, callers int, pause time.Duration) {
	var next atomic.Int64
	first := len(c.Keys())
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1))
				if n > 0 && i > n {
					return
				}
				c.one(ctx, fmt.Sprint(c.prefix, first+i), caller)
				wait(ctx, pause)
			}
		})
	}
	wg.Wait()
}

// one makes a key, through one gateway after another.
func (c *Creating) one(ctx context.Context, name string, at int) {
	for ; ctx.Err() == nil; at++ {
		g := c.f.Gateways[at%len(c.f.Gateways)]
		call, cancel := context.WithTimeout(ctx, createTimeout)
		res, err := g.Signer().Create(call, &signerv1.CreateRequest{KeyId: name, Algorithm: signerv1.Algorithm_ALGORITHM_ED25519})
		cancel()
		switch {
		case err == nil:
			c.mu.Lock()
			c.keys[name] = res.GetPublicKey()
			c.mu.Unlock()
			c.Acknowledged.Add(1)
			return
		case ctx.Err() != nil:
			return
		case !Retryable(err):
			c.mu.Lock()
			c.broken = append(c.broken, fmt.Errorf("creating %s through %s: %w", name, g.Name, err))
			c.mu.Unlock()
			return
		}
		c.Refused.Add(1)
		wait(ctx, max(5*time.Millisecond, RetryAfter(err)/4))
	}
}

// Retryable tells whether a caller may come back with the same request: a gateway says so, or it was killed.
func Retryable(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.DeadlineExceeded:
		return true
	}
	return false
}

// RetryAfter is the wait that an error proposes; 0: none.
func RetryAfter(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// Keys returns the public keys that were acknowledged, by name.
func (c *Creating) Keys() map[string][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.keys)
}

// Some returns at most n of the names that were acknowledged.
func (c *Creating) Some(n int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name := range c.keys {
		if len(names) == n {
			break
		}
		names = append(names, name)
	}
	return names
}

// Broken returns the errors that nothing excuses.
func (c *Creating) Broken() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.broken)
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
