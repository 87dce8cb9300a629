package routing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/singleflight"

	"github.com/enclavepool/enclavepool/breaker"
)

// Placed is a Selector that sends a key to the enclave that a Directory says it
// lives in, and nowhere else, whoever joins or leaves. NewPlaced makes one.
type Placed struct {
	base Selector
	dir  Directory
	cfg  placedConfig

	places  *places
	state   atomic.Uint32 // a PlacedState; written by the watch alone
	lookups singleflight.Group
	away    *away
	open    atomic.Pointer[View] // the last one that openOf made

	ctx    context.Context // of everything that is asked; ends with Close
	cancel context.CancelFunc
	done   sync.WaitGroup
	ready  chan struct{} // closed when the watch is on, and all is listed
	stats  placedStats
}

type placedStats struct {
	lookups, placed, staleHits, resets atomic.Uint64
}

// NewPlaced returns a Selector that knows the places of keys from dir, watches it
// from now on, and needs a Close. A key that has a place goes there, or fails
// with ErrOwnerUnavailable while the enclave is Degraded, Draining or not in the
// View: nothing moves but by Directory.Move.
//
// A key that has none is ErrNotPlaced, unless the call says that it makes the
// key (WithPlacing). Then base chooses, among the enclaves that are Healthy and
// not cordoned, and the place is recorded before Select returns it: whatever
// becomes of the call, everybody looks for the key there from then on, and a
// repeated call goes there too. A call without a key is ErrNoKey.
//
// Places are kept in memory, as many as WithCacheSize says. For one that is, Select
// does no I/O and allocates nothing. The memory is kept true by a watch: a move
// that somebody else makes is seen as soon as the Directory says so, usually in
// milliseconds. While the Directory can not be watched places are served as they
// were, for WithMaxStale; Stats and WithNotify say that it is so. Others fail at
// once then, with ErrDirectoryUnavailable and a time to wait. It needs no restart:
// the watch goes on where it stopped, and when the Directory has forgotten what
// was changed meanwhile, all that was kept is dropped.
func NewPlaced(base Selector, dir Directory, opts ...PlacedOption) *Placed {
	c := defaultPlacedConfig()
	for _, o := range opts {
		o(&c)
	}
	p := &Placed{base: base, dir: dir, cfg: c, places: newPlaces(c.cacheSize), away: newAway(c.retryAfter), ready: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.done.Go(p.watch)
	return p
}

// Close ends the watch; what is asked after it fails with ErrDirectoryClosed. It
// does not close the Directory. The error is nil.
func (p *Placed) Close() error {
	p.cancel()
	p.done.Wait()
	return nil
}

// Ready waits until the Directory is being watched and, WithMirror, until what it
// has is kept. Without having waited nothing goes wrong but that more is asked.
func (p *Placed) Ready(ctx context.Context) error {
	select {
	case <-p.ready: // also when ctx has ended, so that one can ask without waiting
		return nil
	default:
	}
	select {
	case <-p.ready:
		return nil
	case <-p.ctx.Done():
		return ErrDirectoryClosed
	case <-ctx.Done():
		return fmt.Errorf("routing: the placement directory is not being watched yet: %w", ctx.Err())
	}
}

// PlacedStats is a snapshot. The numbers count from the start.
type PlacedStats struct {
	State PlacedState
	// Kept is about how many places are in memory.
	Kept int
	// Lookups that were sent to the Directory, places that this Placed recorded,
	// calls that were served while PlacedStale, and times that all was dropped.
	Lookups, Placed, StaleHits, Resets uint64
}

// Stats returns a snapshot.
func (p *Placed) Stats() PlacedStats {
	return PlacedStats{
		State: PlacedState(p.state.Load()), Kept: p.places.cache.EstimatedSize(),
		Lookups: p.stats.lookups.Load(), Placed: p.stats.placed.Load(),
		StaleHits: p.stats.staleHits.Load(), Resets: p.stats.resets.Load(),
	}
}

// Select implements Selector.
func (p *Placed) Select(ctx context.Context, v *View, key string) (string, error) {
	switch {
	case v.Len() == 0:
		return "", ErrNoMember
	case key == "":
		return "", ErrNoKey
	}
	id, ok := p.kept(key)
	if !ok {
		var err error
		if id, err = p.ask(ctx, v, key); err != nil {
			return "", err
		}
	}
	return p.at(v, id)
}

// kept returns what memory has, where it may be used.
func (p *Placed) kept(key string) (enclaveID string, ok bool) {
	state := PlacedState(p.state.Load())
	if state == PlacedExpired {
		return "", false
	}
	enclaveID, ok = p.places.get(key)
	if ok && state == PlacedStale {
		p.stats.staleHits.Add(1)
	}
	return enclaveID, ok
}

// at returns the enclave if it takes calls.
func (p *Placed) at(v *View, enclaveID string) (string, error) {
	i := v.index(enclaveID)
	if i < 0 {
		return "", &OwnerError{EnclaveID: enclaveID, State: breaker.Degraded, Gone: true, RetryAfter: p.cfg.retryAfter}
	}
	if s := v.members[i].State; s != breaker.Healthy {
		return "", &OwnerError{EnclaveID: enclaveID, State: s, RetryAfter: p.cfg.retryAfter}
	}
	return enclaveID, nil
}

// ask asks the Directory, and has the place recorded where there is none and the
// call makes the key. base is asked first then, which saves a question.
func (p *Placed) ask(ctx context.Context, v *View, key string) (enclaveID string, err error) {
	if !IsPlacing(ctx) {
		return p.lookup(ctx, key)
	}
	chosen, err := p.choose(ctx, v, key)
	if err == nil {
		return p.place(ctx, key, chosen)
	}
	// It may have a place all the same.
	id, lookup := p.lookup(ctx, key)
	if errors.Is(lookup, ErrNotPlaced) {
		return "", err
	}
	return id, lookup
}

// choose lets base choose among the enclaves that take new keys.
func (p *Placed) choose(ctx context.Context, v *View, key string) (string, error) {
	v = p.openOf(v)
	if v.Len() == 0 {
		return "", fmt.Errorf("routing: no enclave takes new keys: %w", ErrNoMember)
	}
	return p.base.Select(ctx, v, key)
}

// openOf returns v without the members that take no new keys.
func (p *Placed) openOf(v *View) *View {
	shut := func(m Member) bool { return m.Cordoned || m.State != breaker.Healthy }
	if !slices.ContainsFunc(v.members, shut) {
		return v
	}
	next := p.open.Load().Next(v.seq, slices.DeleteFunc(slices.Clone(v.members), shut)...)
	p.open.Store(next)
	return next
}

// place records the place, and returns the one that counts.
func (p *Placed) place(ctx context.Context, key, enclaveID string) (string, error) {
	generation := p.places.generation.Load()
	var placement Placement
	var placed bool
	err := p.question(ctx, "place", func(ctx context.Context) (err error) {
		placement, placed, err = p.dir.Place(ctx, key, enclaveID)
		return err
	})
	if err != nil {
		return "", err
	}
	if placed {
		p.stats.placed.Add(1)
	}
	p.places.add(placement, generation)
	return placement.EnclaveID, nil
}

// lookup returns where the key lives. Callers who ask for the same key at the
// same time share an answer; that there is no place is believed only of a question
// that was asked after the caller came, since the key may just have been made.
func (p *Placed) lookup(ctx context.Context, key string) (string, error) {
	id, shared, err := p.lookupShared(ctx, key)
	if shared && errors.Is(err, ErrNotPlaced) {
		id, _, err = p.lookupShared(ctx, key) // sent after the first was answered
	}
	return id, err
}

func (p *Placed) lookupShared(ctx context.Context, key string) (enclaveID string, shared bool, err error) {
	answer := p.lookups.DoChan(key, func() (any, error) {
		generation := p.places.generation.Load()
		p.stats.lookups.Add(1)
		var placement Placement
		err := p.question(p.ctx, "lookup", func(ctx context.Context) (err error) {
			placement, err = p.dir.Lookup(ctx, key)
			return err
		})
		if err != nil {
			return "", err
		}
		p.places.add(placement, generation)
		return placement.EnclaveID, nil
	})
	select {
	case a := <-answer:
		return a.Val.(string), a.Shared, a.Err
	case <-ctx.Done():
		return "", false, ctx.Err()
	}
}

// question asks the Directory, for as long as the configuration says, unless it
// is known to be away.
func (p *Placed) question(ctx context.Context, op string, ask func(context.Context) error) error {
	if p.ctx.Err() != nil {
		return ErrDirectoryClosed
	}
	if wait, ok := p.away.admit(); !ok {
		return &DirectoryError{Op: op, RetryAfter: wait, Cause: errAway}
	}
	limited, cancel := context.WithTimeout(ctx, p.cfg.timeout)
	defer cancel()
	err := ask(limited)
	switch {
	case err == nil:
	case ctx.Err() != nil:
	case limited.Err() != nil && errors.Is(err, context.DeadlineExceeded):
		err = &DirectoryError{Op: op, RetryAfter: p.cfg.retryAfter, Cause: err}
	}
	// A caller whose time was short says nothing of the Directory, unless it is not
	// heard of otherwise either.
	late := errors.Is(ctx.Err(), context.DeadlineExceeded) && PlacedState(p.state.Load()) != PlacedCurrent
	if err == nil || ctx.Err() == nil || late {
		p.away.answered(err != nil && late || errors.Is(err, ErrDirectoryUnavailable))
	}
	if err != nil && p.ctx.Err() != nil {
		return ErrDirectoryClosed
	}
	return err
}

var errAway = errors.New("it did not answer the last time")
