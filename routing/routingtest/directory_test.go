package routingtest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/memdir"
	"github.com/enclavepool/enclavepool/routing/routingtest"
)

// flawed is a good directory but for what is set.
type flawed struct {
	*memdir.Directory
	lookup func(key string) (routing.Placement, error)
	place  func(ctx context.Context, key, enclaveID string) (routing.Placement, bool, error)
	move   func(ctx context.Context, from routing.Placement, enclaveID string) (routing.Placement, error)
	forget func(ctx context.Context, p routing.Placement) error
	list   func(ctx context.Context, after string, limit int) (routing.Page, error)
	change func(routing.Change) []routing.Change // that is yielded instead
	end    func(error) error                     // that a watch ends with instead
	from   func(after uint64) uint64             // that is watched from instead
}

func (f *flawed) Lookup(ctx context.Context, key string) (routing.Placement, error) {
	if f.lookup != nil {
		return f.lookup(key)
	}
	return f.Directory.Lookup(ctx, key)
}

func (f *flawed) Place(ctx context.Context, key, enclaveID string) (routing.Placement, bool, error) {
	if f.place != nil {
		return f.place(ctx, key, enclaveID)
	}
	return f.Directory.Place(ctx, key, enclaveID)
}

func (f *flawed) Move(ctx context.Context, from routing.Placement, enclaveID string) (routing.Placement, error) {
	if f.move != nil {
		return f.move(ctx, from, enclaveID)
	}
	return f.Directory.Move(ctx, from, enclaveID)
}

func (f *flawed) Forget(ctx context.Context, p routing.Placement) error {
	if f.forget != nil {
		return f.forget(ctx, p)
	}
	return f.Directory.Forget(ctx, p)
}

func (f *flawed) List(ctx context.Context, after string, limit int) (routing.Page, error) {
	if f.list != nil {
		return f.list(ctx, after, limit)
	}
	return f.Directory.List(ctx, after, limit)
}

func (f *flawed) Watch(ctx context.Context, after uint64) iter.Seq2[routing.Change, error] {
	if f.from != nil {
		after = f.from(after)
	}
	return func(yield func(routing.Change, error) bool) {
		for c, err := range f.Directory.Watch(ctx, after) {
			if err != nil {
				if f.end != nil {
					err = f.end(err)
				}
				if err != nil {
					yield(c, err)
				}
				return
			}
			instead := []routing.Change{c}
			if f.change != nil {
				instead = f.change(c)
			}
			for _, c := range instead {
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

// flaws each have a check that must find them; others may as well.
var flaws = []struct {
	name  string
	found string
	make  func(f *flawed)
}{
	{"a key without place is in the first enclave", "lookup", func(f *flawed) {
		f.lookup = func(key string) (routing.Placement, error) {
			return routing.Placement{Key: key, EnclaveID: "a", Version: 1, AsOf: 1}, nil
		}
	}},
	{"the key is in the error", "lookup", func(f *flawed) {
		f.lookup = func(key string) (routing.Placement, error) {
			p, err := f.Directory.Lookup(background, key)
			if err != nil {
				err = fmt.Errorf("%s: %w", key, err)
			}
			return p, err
		}
	}},
	{"nothing is said of when it was read", "lookup", func(f *flawed) {
		f.lookup = func(key string) (routing.Placement, error) {
			p, err := f.Directory.Lookup(background, key)
			p.AsOf = 0
			return p, err
		}
	}},
	{"keys end at a zero byte", "any-bytes", func(f *flawed) {
		f.place = func(ctx context.Context, key, id string) (routing.Placement, bool, error) {
			key, _, _ = strings.Cut(key, "\x00")
			return f.Directory.Place(ctx, key, id)
		}
	}},
	{"anything is taken", "invalid", func(f *flawed) {
		f.list = func(ctx context.Context, after string, limit int) (routing.Page, error) {
			return f.Directory.List(ctx, after, max(limit, 1))
		}
	}},
	{"the last who places a key has it", "place-once", func(f *flawed) {
		f.place = func(ctx context.Context, key, id string) (routing.Placement, bool, error) {
			p, placed, err := f.Directory.Place(ctx, key, id)
			if err == nil && !placed {
				p, err = f.Directory.Move(ctx, p, id)
			}
			return p, true, err
		}
	}},
	{"looks, then places", "place-at-once", func(f *flawed) {
		f.place = func(ctx context.Context, key, id string) (routing.Placement, bool, error) {
			if p, err := f.Directory.Lookup(ctx, key); err == nil {
				return p, false, nil
			}
			time.Sleep(5 * time.Millisecond) // for others to come in between
			p, _, err := f.Directory.Place(ctx, key, id)
			p.EnclaveID = id
			return p, true, err
		}
	}},
	{"moves whatever the version", "move", func(f *flawed) {
		f.move = func(ctx context.Context, from routing.Placement, id string) (routing.Placement, error) {
			now, err := f.Directory.Lookup(ctx, from.Key)
			if err != nil {
				return now, err
			}
			return f.Directory.Move(ctx, now, id)
		}
	}},
	{"one move is told to several", "move-at-once", func(f *flawed) {
		f.move = func(ctx context.Context, from routing.Placement, id string) (routing.Placement, error) {
			p, err := f.Directory.Move(ctx, from, id)
			if errors.Is(err, routing.ErrConflict) && strings.HasPrefix(id, "enclave-") {
				err = nil
			}
			return p, err
		}
	}},
	{"forgets whatever the version", "forget", func(f *flawed) {
		f.forget = func(ctx context.Context, p routing.Placement) error {
			now, err := f.Directory.Lookup(ctx, p.Key)
			if err != nil {
				return err
			}
			return f.Directory.Forget(ctx, now)
		}
	}},
	{"each page begins where the last ended", "list", func(f *flawed) {
		f.list = func(ctx context.Context, after string, limit int) (routing.Page, error) {
			page, err := f.Directory.List(ctx, after, limit)
			if p, err := f.Directory.Lookup(ctx, after); err == nil && len(page.Placements) > 0 {
				page.Placements[0] = p
			}
			return page, err
		}
	}},
	{"there is never more", "list", func(f *flawed) {
		f.list = func(ctx context.Context, after string, limit int) (routing.Page, error) {
			page, err := f.Directory.List(ctx, after, limit)
			page.More = false
			return page, err
		}
	}},
	{"what was changed before the watch is left out", "watch-from", func(f *flawed) {
		f.from = func(after uint64) uint64 {
			page, _ := f.Directory.List(background, "", 1) // always nil
			return min(after+1, page.Revision)
		}
	}},
	{"a move is a placement", "watch-from", func(f *flawed) {
		f.change = func(c routing.Change) []routing.Change {
			if c.Kind == routing.ChangeMoved {
				c.Kind = routing.ChangePlaced
			}
			return []routing.Change{c}
		}
	}},
	{"no reset at the beginning", "watch-now", func(f *flawed) {
		f.change = func(c routing.Change) []routing.Change {
			if c.Kind == routing.ChangeReset {
				c.Kind = routing.ChangeProgress
			}
			return []routing.Change{c}
		}
	}},
	{"a revision of the future is waited for", "watch-unknown-revision", func(f *flawed) {
		f.from = func(after uint64) uint64 {
			page, _ := f.Directory.List(background, "", 1) // always nil
			if after != routing.Now {
				after = min(after, page.Revision)
			}
			return after
		}
	}},
	{"some changes are lost", "watch-all", func(f *flawed) {
		var mu sync.Mutex
		n := 0
		f.change = func(c routing.Change) []routing.Change {
			mu.Lock()
			defer mu.Unlock()
			if n++; n%10 == 0 && c.Key != "the end" {
				return nil
			}
			return []routing.Change{c}
		}
	}},
	{"changes are repeated", "watch-all", func(f *flawed) {
		f.change = func(c routing.Change) []routing.Change { return []routing.Change{c, c} }
	}},
	{"a watch ends without saying why", "ended-context", func(f *flawed) {
		f.end = func(error) error { return nil }
	}},
	{"closed is said to be away", "closed", func(f *flawed) {
		f.lookup = func(key string) (routing.Placement, error) {
			p, err := f.Directory.Lookup(background, key)
			if errors.Is(err, routing.ErrDirectoryClosed) {
				err = &routing.DirectoryError{Op: "lookup"}
			}
			return p, err
		}
	}},
	{"a panic", "forget", func(f *flawed) {
		f.forget = func(context.Context, routing.Placement) error { panic("not written yet") }
	}},
}

var background = context.Background()

func TestFlawedDirectoriesFailTheChecksThatLookForIt(t *testing.T) {
	for _, flaw := range flaws {
		t.Run(flaw.name, func(t *testing.T) {
			t.Parallel() // most of the time they wait for progress
			var r recorder
			routingtest.RunDirectory(&r, func() routing.Directory {
				f := &flawed{Directory: memdir.New()}
				flaw.make(f)
				return f
			}, routingtest.Patience(10*time.Second))
			if !slices.Contains(r.failed, flaw.found) {
				t.Errorf("failed checks %q, want %q; they said:\n%s", r.failed, flaw.found, strings.Join(r.texts, "\n"))
			}
		})
	}
}
