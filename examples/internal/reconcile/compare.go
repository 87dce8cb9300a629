package reconcile

import (
	"context"
	"errors"
	"slices"

	"github.com/enclavepool/enclavepool/routing"
)

// compare looks at one key: at is what the directory has, in are the enclaves that have it.
func (r *run) compare(ctx context.Context, key string, at routing.Placement, in []string) error {
	if at.EnclaveID != "" && len(in) == 1 && in[0] == at.EnclaveID {
		r.result.Agreed++
		return nil
	}
	// The pages were read one after another, while keys may have been made. Now that there seems to be a difference the
	// key itself is asked for: first the enclaves, since a key is recorded before it is made.
	in, asked := r.whoHas(ctx, key)
	at, err := r.Directory.Lookup(ctx, key)
	if err != nil && !errors.Is(err, routing.ErrNotPlaced) {
		return err
	}
	d := Difference{Key: key, RecordedIn: at.EnclaveID, FoundIn: in}
	switch {
	case len(in) == 0 && at.EnclaveID == "":
		return nil // it has been forgotten meanwhile
	case len(in) > 1:
		d.Kind = Duplicate
		d.Err = errors.New("several have one")
		if slices.Contains(in, at.EnclaveID) {
			d.Err = nil // the directory says which one counts
		}
	case len(in) == 1 && in[0] == at.EnclaveID:
		r.result.Agreed++
		return nil
	case at.EnclaveID != "" && !asked[at.EnclaveID]:
		d.Kind = Unasked
	case len(in) == 0:
		d.Kind = Unmade
	case at.EnclaveID == "":
		d.Kind = Unrecorded
	default:
		d.Kind = Misplaced
	}
	r.repair(ctx, at, &d)
	r.report(d)
	return ctx.Err()
}

// whoHas asks every enclave for one key, and says which have answered.
func (r *run) whoHas(ctx context.Context, key string) (in []string, asked map[string]bool) {
	asked = map[string]bool{}
	for id, e := range r.Enclaves {
		if r.result.Failed[id] != nil {
			continue
		}
		names, _, err := e.ListKeys(ctx, key, 1)
		if err != nil {
			r.result.Failed[id] = err
			continue
		}
		asked[id] = true
		if len(names) > 0 && names[0] == key {
			in = append(in, id)
		}
	}
	slices.Sort(in)
	return in, asked
}

// repair makes the directory right, where it is known what is.
func (r *run) repair(ctx context.Context, at routing.Placement, d *Difference) {
	switch {
	case d.Kind == Unrecorded && r.Repair:
		now, _, err := r.Directory.Place(ctx, d.Key, d.FoundIn[0])
		d.Repaired, d.Err = err == nil && now.EnclaveID == d.FoundIn[0], err
		if err == nil && !d.Repaired {
			d.Err = errGone
		}
	case d.Kind == Misplaced && r.Repair:
		_, d.Err = r.Directory.Move(ctx, at, d.FoundIn[0])
		d.Repaired = d.Err == nil
	case d.Kind == Unmade && r.Forget:
		d.Err = r.Directory.Forget(ctx, at)
		d.Repaired = d.Err == nil
	}
}
