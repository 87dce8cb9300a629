package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/enclavepool/enclavepool/routing"
)

// cursor walks through the names that one source has, a page at a time.
type cursor struct {
	names []string
	next  func(ctx context.Context) (names []string, more bool, err error)
	more  bool
}

// head returns the name that the cursor is at.
func (c *cursor) head(ctx context.Context) (name string, ok bool, err error) {
	for len(c.names) == 0 && c.more {
		if c.names, c.more, err = c.next(ctx); err != nil {
			c.more = false
			return "", false, err
		}
	}
	if len(c.names) == 0 {
		return "", false, nil
	}
	return c.names[0], true, nil
}

// ofEnclave walks through an enclave's keys.
func (r *run) ofEnclave(e Enclave) *cursor {
	from := ""
	return &cursor{more: true, next: func(ctx context.Context) ([]string, bool, error) {
		names, more, err := e.ListKeys(ctx, from, r.PageSize)
		if err != nil {
			return nil, false, err
		}
		if !slices.IsSorted(names) || len(names) > 0 && names[0] < from || more && len(names) == 0 {
			return nil, false, fmt.Errorf("it does not list its keys in their order")
		}
		if len(names) > 0 {
			from = names[len(names)-1] + "\x00"
		}
		return names, more, nil
	}}
}

// ofDirectory walks through what is recorded; places has the placements of the names that it is at.
func (r *run) ofDirectory(places map[string]routing.Placement) *cursor {
	after := ""
	return &cursor{more: true, next: func(ctx context.Context) (names []string, more bool, err error) {
		page, err := r.Directory.List(ctx, after, r.PageSize)
		if err != nil {
			return nil, false, err
		}
		clear(places)
		for _, p := range page.Placements {
			places[p.Key] = p
			names = append(names, p.Key)
			after = p.Key
		}
		return names, page.More, nil
	}}
}

// walk goes through all names in order, so that no more of them than a page of each source is in memory.
func (r *run) walk(ctx context.Context) error {
	places := map[string]routing.Placement{}
	recorded := r.ofDirectory(places)
	enclaves := map[string]*cursor{}
	for id, e := range r.Enclaves {
		enclaves[id] = r.ofEnclave(e)
	}
	for ctx.Err() == nil {
		var least string
		any := false
		meet := func(name string) {
			if !any || name < least {
				least, any = name, true
			}
		}
		// A key is recorded before it is made, so the enclaves are asked first.
		for _, id := range slices.Sorted(maps.Keys(enclaves)) {
			name, ok, err := enclaves[id].head(ctx)
			switch {
			case err != nil:
				r.result.Failed[id] = err
				delete(enclaves, id)
			case ok:
				meet(name)
			}
		}
		name, ok, err := recorded.head(ctx)
		if err != nil {
			return err
		}
		if ok {
			meet(name)
		}
		if !any {
			break
		}
		var at routing.Placement
		if ok && name == least {
			at = places[name]
			recorded.names = recorded.names[1:]
			r.result.Recorded++
		}
		var in []string
		for id, c := range enclaves {
			if len(c.names) > 0 && c.names[0] == least {
				in = append(in, id)
				c.names = c.names[1:]
				r.result.Found[id]++
			}
		}
		slices.Sort(in)
		if err := r.compare(ctx, least, at, in); err != nil {
			return err
		}
	}
	return ctx.Err()
}
