package routingtest

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/enclavepool/enclavepool/routing"
)

// Outage is a Directory that can be cut off from the one behind it. Away: it
// refuses everything at once, as when nobody listens. Hang: it answers nothing, as
// when packets are lost; a call takes until its context ends, and a watch falls
// silent. What was changed meanwhile, by others, is there when it is Back.
type Outage struct {
	behind routing.Directory

	mu       sync.Mutex
	mode     outageMode
	changed  chan struct{} // closed and replaced with mode
	watchers map[*watcherOf]struct{}
}

type outageMode int

const (
	back outageMode = iota
	gone
	hanging
)

type watcherOf struct{ cancel context.CancelFunc }

var _ routing.Directory = (*Outage)(nil)

// NewOutage returns one that is not cut off.
func NewOutage(behind routing.Directory) *Outage {
	return &Outage{behind: behind, changed: make(chan struct{}), watchers: map[*watcherOf]struct{}{}}
}

// Away makes every call and watch fail at once.
func (o *Outage) Away() { o.become(gone) }

// Hang makes every call and watch wait.
func (o *Outage) Hang() { o.become(hanging) }

// Back ends the outage. What hung goes on.
func (o *Outage) Back() { o.become(back) }

func (o *Outage) become(m outageMode) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mode = m
	close(o.changed)
	o.changed = make(chan struct{})
	if m == gone {
		for w := range o.watchers {
			w.cancel()
		}
	}
}

func (o *Outage) now() (outageMode, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mode, o.changed
}

var errOutage = errors.New("an outage")

// pass returns nil once the call may go through.
func (o *Outage) pass(ctx context.Context, op string) error {
	for {
		mode, changed := o.now()
		switch mode {
		case back:
			return nil
		case gone:
			return &routing.DirectoryError{Op: op, RetryAfter: 100 * time.Millisecond, Cause: errOutage}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Lookup implements routing.Directory.
func (o *Outage) Lookup(ctx context.Context, key string) (routing.Placement, error) {
	if err := o.pass(ctx, "lookup"); err != nil {
		return routing.Placement{}, err
	}
	return o.behind.Lookup(ctx, key)
}

// Place implements routing.Directory.
func (o *Outage) Place(ctx context.Context, key, enclaveID string) (routing.Placement, bool, error) {
	if err := o.pass(ctx, "place"); err != nil {
		return routing.Placement{}, false, err
	}
	return o.behind.Place(ctx, key, enclaveID)
}

// Move implements routing.Directory.
func (o *Outage) Move(ctx context.Context, from routing.Placement, enclaveID string) (routing.Placement, error) {
	if err := o.pass(ctx, "move"); err != nil {
		return routing.Placement{}, err
	}
	return o.behind.Move(ctx, from, enclaveID)
}

// Forget implements routing.Directory.
func (o *Outage) Forget(ctx context.Context, p routing.Placement) error {
	if err := o.pass(ctx, "forget"); err != nil {
		return err
	}
	return o.behind.Forget(ctx, p)
}

// List implements routing.Directory.
func (o *Outage) List(ctx context.Context, after string, limit int) (routing.Page, error) {
	if err := o.pass(ctx, "list"); err != nil {
		return routing.Page{}, err
	}
	return o.behind.List(ctx, after, limit)
}

// Watch implements routing.Directory.
func (o *Outage) Watch(ctx context.Context, after uint64) iter.Seq2[routing.Change, error] {
	return func(yield func(routing.Change, error) bool) {
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		w := &watcherOf{cancel}
		o.mu.Lock()
		o.watchers[w] = struct{}{}
		o.mu.Unlock()
		defer func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			delete(o.watchers, w)
		}()
		if err := o.pass(ctx, "watch"); err != nil {
			yield(routing.Change{}, err)
			return
		}
		for c, err := range o.behind.Watch(inner, after) {
			if out := o.pass(ctx, "watch"); out != nil {
				yield(routing.Change{}, out)
				return
			}
			if err != nil && ctx.Err() == nil && inner.Err() != nil { // away and back again
				err = &routing.DirectoryError{Op: "watch", RetryAfter: 100 * time.Millisecond, Cause: errOutage}
			}
			if !yield(c, err) {
				return
			}
		}
	}
}
