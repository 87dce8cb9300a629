package boltdir

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/enclavepool/enclavepool/routing"
)

// write is a change that somebody waits for.
type write struct {
	ctx            context.Context
	op             string
	key, enclaveID string
	version        uint64 // that it is to change; of no meaning to "place"

	// The answer, there once done is closed.
	placement routing.Placement
	placed    bool
	err       error
	done      chan struct{}
}

// maxBatch bounds how many changes share a commit, and so how long one takes.
const maxBatch = 1024

// write hands a change to the writer, and waits until it is durable.
func (d *Directory) write(ctx context.Context, w *write) (routing.Placement, bool, error) {
	if err := ctx.Err(); err != nil {
		return routing.Placement{}, false, err
	}
	w.ctx, w.done = ctx, make(chan struct{})
	select {
	case d.writes <- w:
	case <-d.closing:
		return routing.Placement{}, false, routing.ErrDirectoryClosed
	case <-ctx.Done():
		return routing.Placement{}, false, ctx.Err()
	}
	select {
	case <-w.done:
		return w.placement, w.placed, w.err
	case <-ctx.Done():
		return routing.Placement{}, false, fmt.Errorf("boltdir: %s: it may be made yet: %w", w.op, ctx.Err())
	}
}

// writeAll is the writer. The changes that come while one commit is on its way to
// the disk share the next, so that waiting for the disk costs no throughput, and
// a change that comes alone does not wait for others (which bbolt's own Batch
// makes it do).
func (d *Directory) writeAll() {
	batch := make([]*write, 0, maxBatch)
	for {
		select {
		case w := <-d.writes:
			batch = append(batch[:0], w)
		case <-d.closing:
			return
		}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case w := <-d.writes:
				batch = append(batch, w)
			default:
				more = false
			}
		}
		d.commit(batch)
		for _, w := range batch {
			close(w.done)
		}
		clear(batch)
	}
}

// errNoChange rolls a transaction back that has nothing to be committed.
var errNoChange = errors.New("no change")

// commit makes the changes of a batch and fills in the answers.
func (d *Directory) commit(batch []*write) {
	var changes []routing.Change
	err := d.db.Update(func(tx *bbolt.Tx) error {
		r := readerOf(tx)
		for _, w := range batch {
			if w.err = w.ctx.Err(); w.err != nil {
				continue // nobody waits for it
			}
			c, err := w.apply(&r)
			if err != nil {
				return err
			}
			if c.Kind != 0 {
				changes = append(changes, c)
			}
		}
		if len(changes) == 0 {
			return errNoChange
		}
		return tx.Bucket(metaBucket).Put(revisionKey, binary.BigEndian.AppendUint64(nil, r.revision))
	})
	switch {
	case err == nil:
		d.log.Append(changes...)
	case errors.Is(err, errNoChange):
	default:
		// What was not committed may be in the file all the same, when it was the
		// sync that failed. Watchers are told that something may have changed.
		for _, w := range batch {
			w.placement, w.placed, w.err = routing.Placement{}, false, unavailable(w.op, err)
		}
		d.forget()
	}
}

// forget makes the watchers begin anew at what the file has now.
func (d *Directory) forget() {
	_ = d.db.View(func(tx *bbolt.Tx) error { // when this fails too there is nothing to tell
		d.log.Forget(readerOf(tx).revision)
		return nil
	})
}

// apply makes the change in a transaction and returns it, or no change where the
// answer is another. An error is bbolt's.
func (w *write) apply(r *reader) (routing.Change, error) {
	now, ok := r.placement(w.key)
	switch {
	case w.op == "place" && ok:
		w.placement = now
		return routing.Change{}, nil
	case w.op == "place":
		w.placed = true
		return w.put(r, routing.ChangePlaced)
	case !ok:
		w.err = routing.ErrNotPlaced
		return routing.Change{}, nil
	case now.Version != w.version:
		w.placement, w.err = now, routing.ErrConflict
		return routing.Change{}, nil
	case w.op == "move":
		return w.put(r, routing.ChangeMoved)
	}
	r.revision++
	return routing.Change{Kind: routing.ChangeForgotten, Key: w.key, Revision: r.revision}, r.keys.Delete([]byte(w.key))
}

func (w *write) put(r *reader, kind routing.ChangeKind) (routing.Change, error) {
	r.revision++
	value := append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(w.enclaveID)), r.revision), w.enclaveID...)
	w.placement = routing.Placement{Key: w.key, EnclaveID: w.enclaveID, Version: r.revision, AsOf: r.revision}
	c := routing.Change{Kind: kind, Key: w.key, EnclaveID: w.enclaveID, Revision: r.revision}
	return c, r.keys.Put([]byte(w.key), value)
}
