package routingtest_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/routingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder keeps the names of the checks that failed.
type recorder struct{ failed, texts []string }

func (*recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	name, _, _ := strings.Cut(text, ":")
	r.failed = append(r.failed, name)
	r.texts = append(r.texts, text)
}

func TestTheSelectorsOfTheLibraryPass(t *testing.T) {
	t.Run("rendezvous, strict", func(t *testing.T) {
		routingtest.Run(t, func() routing.Selector { return routing.NewRendezvous() })
	})
	t.Run("rendezvous that spills", func(t *testing.T) {
		routingtest.Run(t, func() routing.Selector { return routing.NewRendezvous(routing.WithSpill(2)) })
	})
	t.Run("rendezvous with a load bound", func(t *testing.T) {
		routingtest.Run(t, func() routing.Selector {
			return routing.NewRendezvous(routing.WithSpill(3), routing.WithLoadBound(1.25))
		})
	})
	t.Run("sticky on strict", func(t *testing.T) {
		routingtest.Run(t, func() routing.Selector { return routing.NewSticky(routing.NewRendezvous()) })
	})
	t.Run("sticky on spilling", func(t *testing.T) {
		routingtest.Run(t, func() routing.Selector { return routing.NewSticky(routing.NewRendezvous(routing.WithSpill(2))) })
	})
	t.Run("sticky on least loaded", func(t *testing.T) {
		routingtest.Run(t, func() routing.Selector { return routing.NewSticky(routing.NewLeastLoaded()) }, routingtest.Local())
	})
	t.Run("least loaded", func(t *testing.T) {
		routingtest.Run(t, routing.NewLeastLoaded, routingtest.Keyless())
	})
}

type selectorFunc func(ctx context.Context, v *routing.View, key string) (string, error)

func (f selectorFunc) Select(ctx context.Context, v *routing.View, key string) (string, error) {
	return f(ctx, v, key)
}

var good = routing.NewRendezvous()

// modulo is what everybody writes first: the key's hash modulo the members that
// are left by the filter.
func modulo(key string, ms []routing.Member, keep func(routing.Member) bool) (string, error) {
	ms = slices.DeleteFunc(ms, func(m routing.Member) bool { return !keep(m) })
	if len(ms) == 0 {
		return "", routing.ErrNoMember
	}
	if key == "" {
		return "", routing.ErrNoKey
	}
	h := fnv.New64a()
	h.Write([]byte(key))
	return ms[h.Sum64()%uint64(len(ms))].ID, nil
}

func healthy(m routing.Member) bool { return m.State == breaker.Healthy }

// broken are Selectors with one fault each.
var broken = []struct {
	name  string
	opts  []routingtest.Option
	fails []string // the checks that must find it, and no other
	make  func() routing.Selector
}{
	{"no answer at all where there is no member", nil, []string{"no-members"}, func() routing.Selector {
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			if v.Len() == 0 {
				return "", nil
			}
			return good.Select(ctx, v, key)
		})
	}},
	{"a panic where there is no member", nil, []string{"no-members"}, func() routing.Selector {
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			_ = v.Members()[0]
			return good.Select(ctx, v, key)
		})
	}},
	{"an enclave beside the error", nil, []string{"member-or-error", "states", "minimal-movement"}, func() routing.Selector {
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			id, err := good.Select(ctx, v, key)
			var owner *routing.OwnerError
			if errors.As(err, &owner) {
				id = owner.EnclaveID
			}
			return id, err
		})
	}},
	{"an error that nobody understands", nil, []string{"member-or-error", "states", "minimal-movement"}, func() routing.Selector {
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			id, err := good.Select(ctx, v, key)
			if errors.Is(err, routing.ErrOwnerUnavailable) {
				err = errors.New("down")
			}
			return id, err
		})
	}},
	{"an error about an enclave that is well", nil, []string{"member-or-error", "states", "minimal-movement"}, func() routing.Selector {
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			id, err := good.Select(ctx, v, key)
			var owner *routing.OwnerError
			if errors.As(err, &owner) {
				owner.State = breaker.Healthy
			}
			return id, err
		})
	}},
	{"states are ignored", nil, []string{"member-or-error", "states", "minimal-movement"}, func() routing.Selector {
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			ms := v.Members()
			for i := range ms {
				ms[i].State = breaker.Healthy
			}
			return good.Select(ctx, routing.NewView(v.Seq(), ms...), key)
		})
	}},
	{"the first View is kept for ever", nil, []string{"no-members", "member-or-error", "minimal-movement", "concurrency"}, func() routing.Selector {
		var first atomic.Pointer[routing.View]
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			first.CompareAndSwap(nil, v)
			return good.Select(ctx, first.Load(), key)
		})
	}},
	{"hash modulo the members", nil, []string{"minimal-movement"}, func() routing.Selector {
		return selectorFunc(func(_ context.Context, v *routing.View, key string) (string, error) {
			return modulo(key, v.Members(), healthy)
		})
	}},
	{"chosen at random", nil, []string{"same-enclave", "minimal-movement", "cordon", "concurrency"}, func() routing.Selector {
		return selectorFunc(func(_ context.Context, v *routing.View, key string) (string, error) {
			ms := slices.DeleteFunc(v.Members(), func(m routing.Member) bool { return !healthy(m) })
			if len(ms) == 0 {
				return "", routing.ErrNoMember
			}
			return ms[rand.IntN(len(ms))].ID, nil
		})
	}},
	{"another seed in each instance", nil, []string{"same-enclave", "minimal-movement", "concurrency"}, func() routing.Selector {
		seed := fmt.Sprint(rand.Uint64())
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			return good.Select(ctx, v, key+seed)
		})
	}},
	{"always the first that is well", nil, []string{"spread"}, func() routing.Selector {
		return selectorFunc(func(_ context.Context, v *routing.View, _ string) (string, error) {
			for m := range v.All() {
				if healthy(m) {
					return m.ID, nil
				}
			}
			return "", routing.ErrNoMember
		})
	}},
	{"a cordoned enclave's keys go elsewhere", nil, []string{"cordon"}, func() routing.Selector {
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			if v.Len() == 0 {
				return "", routing.ErrNoMember
			}
			ms := slices.DeleteFunc(v.Members(), func(m routing.Member) bool { return m.Cordoned })
			return good.Select(ctx, routing.NewView(v.Seq(), ms...), key)
		})
	}},
	{"keyless, and a cordoned enclave is chosen", []routingtest.Option{routingtest.Keyless()}, []string{"cordon"}, func() routing.Selector {
		return selectorFunc(func(_ context.Context, v *routing.View, _ string) (string, error) {
			return modulo(fmt.Sprint(rand.Uint64()), v.Members(), healthy)
		})
	}},
	{"keyless, and a key is asked for", []routingtest.Option{routingtest.Keyless()}, []string{"empty-key"}, func() routing.Selector {
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			if v.Len() == 0 {
				return "", routing.ErrNoMember
			}
			if key == "" {
				return "", routing.ErrNoKey
			}
			return routing.NewLeastLoaded().Select(ctx, v, key)
		})
	}},
	{"an error of its own for an empty key", nil, []string{"empty-key"}, func() routing.Selector {
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			if key == "" {
				return "", errors.New("key: must not be empty")
			}
			return good.Select(ctx, v, key)
		})
	}},
	{"the end of the context is a panic", nil, []string{"ended-context"}, func() routing.Selector {
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			if ctx.Err() != nil {
				panic("not now")
			}
			return good.Select(ctx, v, key)
		})
	}},
	{"the key of another caller", nil, []string{"concurrency"}, func() routing.Selector {
		var shared atomic.Value
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			shared.Store(key)
			runtime.Gosched()
			return good.Select(ctx, v, shared.Load().(string))
		})
	}},
	{"a panic when there are two callers", nil, []string{"concurrency"}, func() routing.Selector {
		var mu sync.Mutex
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			if !mu.TryLock() {
				panic("busy")
			}
			defer mu.Unlock()
			runtime.Gosched()
			return good.Select(ctx, v, key)
		})
	}},
	{"members are copied for each call", nil, []string{"allocations"}, func() routing.Selector {
		return selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
			if len(v.Members()) == 0 {
				return "", routing.ErrNoMember
			}
			return good.Select(ctx, v, key)
		})
	}},
}

func TestEachFaultIsFoundByTheChecksThatLookForIt(t *testing.T) {
	for _, b := range broken {
		t.Run(b.name, func(t *testing.T) {
			var r recorder
			// What is wrong otherwise than by allocating need not be spared it.
			opts := b.opts
			if !slices.Contains(b.fails, "allocations") {
				opts = append(slices.Clone(opts), routingtest.Allocates())
			}
			routingtest.Run(&r, b.make, opts...)
			if !slices.Equal(r.failed, b.fails) {
				t.Errorf("failed checks %q, want %q; they said:\n%s", r.failed, b.fails, strings.Join(r.texts, "\n"))
			}
		})
	}
}

func TestEachOptionLeavesOutWhatItTakesBack(t *testing.T) {
	for name, with := range map[string][]routingtest.Option{
		"hash modulo the members":          {routingtest.Moves(), routingtest.Allocates()},
		"another seed in each instance":    {routingtest.Local(), routingtest.Allocates()},
		"always the first that is well":    {routingtest.Uneven()},
		"members are copied for each call": {routingtest.Allocates(), routingtest.Keys(64)},
	} {
		for _, b := range broken {
			if b.name != name {
				continue
			}
			var r recorder
			routingtest.Run(&r, b.make, with...)
			if len(r.failed) != 0 {
				t.Errorf("%s: %q", name, r.texts)
			}
			with = nil
		}
		if with != nil {
			t.Errorf("no selector %q", name)
		}
	}
}

func TestTooFewKeysAreRefused(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Keys(63) was accepted")
		}
	}()
	routingtest.Keys(63)
}
