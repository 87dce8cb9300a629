package gateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/routing"
)

// ParseRouting understands "strict", which is also what "" means, "spill" and "spill:n".
//
// Strict: a key is served by the enclave that owns it, or not at all. Spill: while the owner is away, by one of the n
// enclaves after it in the key's order (n is 1 when it is not said). A key that was created away from its owner is
// looked for where it was created, also when the owner is back, for as long as this process lasts and remembers it: a
// key lives in one enclave only. What the other enclaves do not have they cannot sign with, so that spilling serves
// new keys, and answers NOT_FOUND for those that live in the enclave that is away. Before /readyz says ready an enclave
// may seem to be away that is merely not connected yet.
func ParseRouting(text string) (routing.Selector, error) {
	mode, number, counted := strings.Cut(text, ":")
	switch {
	case text == "" || text == "strict":
		return routing.NewRendezvous(), nil
	case mode != "spill":
		return nil, errors.New("there is no such policy")
	case !counted:
		return newSpilling(1), nil
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > maxSpill {
		return nil, fmt.Errorf("n is a number from 1 to %d", maxSpill)
	}
	return newSpilling(n), nil
}

const (
	maxSpill = 64
	// memory and memoryAge bound what is remembered of keys that were created away from their owner. Forgetting one is
	// losing it, when its owner is back.
	memory    = 1 << 20
	memoryAge = 30 * 24 * time.Hour
)

// spilling is Spill with a memory of the keys that were created away from their owner, and of no others. A mere
// NewSticky would remember where Sign was sent to in vain, and go on looking for the key there when its owner is back.
type spilling struct {
	spill, sticky routing.Selector
}

// errNotRemembered keeps the memory from remembering.
var errNotRemembered = errors.New("not remembered")

func newSpilling(n int) *spilling {
	spill := routing.NewRendezvous(routing.WithSpill(n))
	created := selectorFunc(func(ctx context.Context, v *routing.View, key string) (string, error) {
		if t := tripOf(ctx); t == nil || !t.creates {
			return "", errNotRemembered
		}
		id, err := spill.Select(ctx, v, key)
		if err == nil && id == ownerOf(ctx, v, key) {
			return "", errNotRemembered
		}
		return id, err
	})
	return &spilling{spill, routing.NewSticky(created, routing.WithMaxKeys(memory), routing.WithMaxAge(memoryAge))}
}

// Select implements routing.Selector.
func (s *spilling) Select(ctx context.Context, v *routing.View, key string) (string, error) {
	id, err := s.sticky.Select(ctx, v, key)
	if err == errNotRemembered {
		return s.spill.Select(ctx, v, key)
	}
	return id, err
}

type selectorFunc func(ctx context.Context, v *routing.View, key string) (string, error)

func (f selectorFunc) Select(ctx context.Context, v *routing.View, key string) (string, error) {
	return f(ctx, v, key)
}

// owners knows the owner of every key and lets nobody stand in for it.
var owners = routing.NewRendezvous()

// ownerOf is the enclave that the key belongs to, whatever its state; "": there is none.
func ownerOf(ctx context.Context, v *routing.View, key string) string {
	id, _ := regardless{owners}.Select(ctx, v, key)
	return id
}

// regardless chooses an enclave that is away as well.
type regardless struct{ routing.Selector }

func (r regardless) Select(ctx context.Context, v *routing.View, key string) (string, error) {
	id, err := r.Selector.Select(ctx, v, key)
	var owner *routing.OwnerError
	if errors.As(err, &owner) && owner.EnclaveID != "" {
		return owner.EnclaveID, nil
	}
	return id, err
}

// trip is what is known of one request on its way. Its selector runs before and between the attempts, and in the same
// goroutine, so no lock is needed.
type trip struct {
	creates bool // it makes the key
	// ownerID is the enclave that the key belongs to, enclaveID the one that it was sent to last.
	ownerID, enclaveID string
}

type tripKey struct{}

func withTrip(ctx context.Context, t *trip) context.Context {
	return context.WithValue(ctx, tripKey{}, t)
}

// tripOf is the trip that ctx belongs to; nil: none.
func tripOf(ctx context.Context) *trip {
	t, _ := ctx.Value(tripKey{}).(*trip)
	return t
}

// noting notes in the trip what the selector chose: the pool asks it again for a request of which nothing was sent,
// so the last answer is the enclave that got it.
type noting struct {
	routing.Selector
	placed bool // the key belongs where it lives, and not where its hash says
}

func (n noting) Select(ctx context.Context, v *routing.View, key string) (string, error) {
	id, err := n.Selector.Select(ctx, v, key)
	if t := tripOf(ctx); t != nil {
		t.ownerID, t.enclaveID = ownerOf(ctx, v, key), id
		var owner *routing.OwnerError
		if errors.As(err, &owner) {
			t.enclaveID = owner.EnclaveID
		}
		if n.placed && t.enclaveID != "" {
			t.ownerID = t.enclaveID
		}
	}
	return id, err
}
