package feed

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/enclavepool/enclavepool/routing"
)

// Log is the recent past of a directory: the changes of the revisions after base
// up to last, one each. Writers append under mu; each watcher has a cursor of its
// own and copies what it has not seen, so that none waits for another.
type Log struct {
	mu     sync.Mutex
	base   uint64
	last   uint64
	ring   []routing.Change // grows to size, then the newest takes the oldest's place
	oldest int              // where in ring the change of base+1 is
	size   int
	grown  chan struct{} // closed and replaced by Append
	closed bool
}

// New returns a Log of a directory at that revision, which remembers that many
// changes at most.
func New(revision uint64, size int) *Log {
	return &Log{base: revision, last: revision, size: size, grown: make(chan struct{})}
}

// Append adds changes, whose revisions follow the last without a gap.
func (l *Log) Append(changes ...routing.Change) {
	if len(changes) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		l.last = c.Revision
		if len(l.ring) < l.size {
			l.ring = append(l.ring, c)
			continue
		}
		l.ring[l.oldest] = c
		l.oldest = (l.oldest + 1) % l.size
		l.base++
	}
	l.wakeLocked()
}

// Forget begins anew at a revision: the changes until then are not known.
func (l *Log) Forget(revision uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.base, l.last, l.oldest = revision, revision, 0
	clear(l.ring)
	l.ring = l.ring[:0]
	l.wakeLocked()
}

// Close ends every Watch.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		l.wakeLocked()
	}
}

func (l *Log) wakeLocked() {
	close(l.grown)
	l.grown = make(chan struct{})
}

// atOnce is how many changes a watcher copies under the lock.
const atOnce = 256

// read returns changes after a revision; or what to wait for where there is none.
func (l *Log) read(after uint64, into []routing.Change) (changes []routing.Change, last uint64, grown <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	changes = into[:0]
	switch {
	case l.closed:
		return nil, 0, nil, routing.ErrDirectoryClosed
	case after < l.base || after > l.last:
		return append(changes, routing.Change{Kind: routing.ChangeReset, Revision: l.last}), l.last, nil, nil
	}
	for r := after + 1; r <= l.last && len(changes) < atOnce; r++ {
		changes = append(changes, l.ring[(l.oldest+int(r-l.base-1))%len(l.ring)])
	}
	return changes, l.last, l.grown, nil
}

// Watch is what routing.Directory says of it.
func (l *Log) Watch(ctx context.Context, after uint64) iter.Seq2[routing.Change, error] {
	return func(yield func(routing.Change, error) bool) {
		quiet := time.NewTicker(routing.ProgressInterval)
		defer quiet.Stop()
		var buffer [atOnce]routing.Change
		begun := false
		for {
			changes, last, grown, err := l.read(after, buffer[:])
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(routing.Change{}, err)
				return
			}
			for _, c := range changes {
				if !yield(c, nil) {
					return
				}
				after = c.Revision
			}
			if len(changes) > 0 {
				begun = true
				continue
			}
			if !begun { // it is on
				begun = true
				if !yield(routing.Change{Kind: routing.ChangeProgress, Revision: last}, nil) {
					return
				}
			}
			select {
			case <-grown:
			case <-ctx.Done():
			case <-quiet.C:
				if !yield(routing.Change{Kind: routing.ChangeProgress, Revision: last}, nil) {
					return
				}
			}
		}
	}
}
