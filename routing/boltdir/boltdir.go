package boltdir

import (
	"context"
	"errors"
	"fmt"
	bolterrors "go.etcd.io/bbolt/errors"
	"iter"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/internal/feed"
)

var (
	// ErrLocked: another process, or another Directory of this one, has the file open.
	ErrLocked = errors.New("the file is in use")
	// ErrFormat: the file is not a placement directory, or one of another version.
	ErrFormat = errors.New("not a placement directory of this version")
)

// retryAfter is what a *routing.DirectoryError proposes: a disk that is full stays
// so for a while.
const retryAfter = time.Second

// Directory is a routing.Directory. It is safe for concurrent use.
type Directory struct {
	db     *bbolt.DB
	log    *feed.Log
	writes chan *write

	closing chan struct{}
	close   func() error // once
	writer  sync.WaitGroup
}

var _ routing.Directory = (*Directory)(nil)

// An Option changes how Open opens.
type Option func(*options)

type options struct {
	history     int
	lockTimeout time.Duration
}

// WithHistory sets how many changes a Watch can go back. Default 16 384; at least
// 1. It is memory, and begins anew when the file is opened.
func WithHistory(n int) Option {
	if n < 1 {
		panic(fmt.Sprintf("boltdir: WithHistory(%d): valid: 1 or more", n))
	}
	return func(o *options) { o.history = n }
}

// WithLockTimeout sets how long Open waits for a file that is in use: that of a
// process which is about to end, say. Default 1s; more than 0.
func WithLockTimeout(d time.Duration) Option {
	if d <= 0 {
		panic(fmt.Sprintf("boltdir: WithLockTimeout(%v): valid: more than 0", d))
	}
	return func(o *options) { o.lockTimeout = d }
}

// Open opens the file, and makes it where there is none, readable by its owner
// only; the folder has to be there. The error is ErrLocked, ErrFormat or the file
// system's.
func Open(path string, opts ...Option) (*Directory, error) {
	o := options{history: 16384, lockTimeout: time.Second}
	for _, opt := range opts {
		opt(&o)
	}
	db, revision, err := openFile(path, o.lockTimeout)
	if err != nil {
		return nil, fmt.Errorf("boltdir: %s: %w", path, err)
	}
	d := &Directory{
		db: db, log: feed.New(revision, o.history),
		writes: make(chan *write), closing: make(chan struct{}),
	}
	d.close = sync.OnceValue(func() error {
		close(d.closing)
		d.writer.Wait()
		d.log.Close()
		return d.db.Close() // waits for those who read
	})
	d.writer.Go(d.writeAll)
	return d, nil
}

// Close ends every Watch, waits for the changes that are being written, and gives
// the file up. Calling it again returns what it did.
func (d *Directory) Close() error { return d.close() }

// read runs f in a transaction that sees what was acknowledged, and maybe what is
// just about to be.
func (d *Directory) read(ctx context.Context, op string, f func(r reader) error) error {
	select {
	case <-d.closing:
		return routing.ErrDirectoryClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var answer error
	err := d.db.View(func(tx *bbolt.Tx) error {
		answer = f(readerOf(tx))
		return nil
	})
	if err != nil {
		return unavailable(op, err)
	}
	return answer
}

func unavailable(op string, err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return routing.ErrDirectoryClosed
	}
	return &routing.DirectoryError{Op: op, RetryAfter: retryAfter, Cause: err}
}

// Lookup implements routing.Directory.
func (d *Directory) Lookup(ctx context.Context, key string) (p routing.Placement, err error) {
	if err := routing.CheckKey(key); err != nil {
		return p, err
	}
	err = d.read(ctx, "lookup", func(r reader) error {
		var ok bool
		if p, ok = r.placement(key); !ok {
			return routing.ErrNotPlaced
		}
		return nil
	})
	return p, err
}

// Place implements routing.Directory.
func (d *Directory) Place(ctx context.Context, key, enclaveID string) (routing.Placement, bool, error) {
	if err := routing.CheckPlacement(key, enclaveID); err != nil {
		return routing.Placement{}, false, err
	}
	// One that is there already need not wait for the disk.
	if p, err := d.Lookup(ctx, key); !errors.Is(err, routing.ErrNotPlaced) {
		return p, false, err
	}
	return d.write(ctx, &write{op: "place", key: key, enclaveID: enclaveID})
}

// Move implements routing.Directory.
func (d *Directory) Move(ctx context.Context, from routing.Placement, enclaveID string) (routing.Placement, error) {
	if err := routing.CheckPlacement(from.Key, enclaveID); err != nil {
		return routing.Placement{}, err
	}
	p, _, err := d.write(ctx, &write{op: "move", key: from.Key, enclaveID: enclaveID, version: from.Version})
	return p, err
}

// Forget implements routing.Directory.
func (d *Directory) Forget(ctx context.Context, p routing.Placement) error {
	if err := routing.CheckKey(p.Key); err != nil {
		return err
	}
	_, _, err := d.write(ctx, &write{op: "forget", key: p.Key, version: p.Version})
	return err
}

// List implements routing.Directory.
func (d *Directory) List(ctx context.Context, after string, limit int) (page routing.Page, err error) {
	if err := routing.CheckLimit(limit); err != nil {
		return page, err
	}
	err = d.read(ctx, "list", func(r reader) error {
		page = r.page(after, limit)
		return nil
	})
	return page, err
}

// Watch implements routing.Directory. Changes of before the file was opened are
// not remembered.
func (d *Directory) Watch(ctx context.Context, after uint64) iter.Seq2[routing.Change, error] {
	return d.log.Watch(ctx, after)
}
