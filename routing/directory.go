package routing

import (
	"context"
	"iter"
	"math"
	"time"
)

const (
	// MaxKeyLen and MaxEnclaveIDLen bound what a Directory records, in bytes.
	// Neither may be empty; any bytes will do.
	MaxKeyLen       = 1024
	MaxEnclaveIDLen = 255

	// ProgressInterval is how often a Watch that has nothing else to say says
	// that it is whole, at least.
	ProgressInterval = time.Second

	// Now, handed to Watch, stands for the revision that the Directory has.
	Now uint64 = math.MaxUint64
)

// A Directory remembers in which enclave each key lives, for as long as the key
// does. Several may look at the same record: gateways that share an etcd, say.
// Anybody can write one; routingtest.RunDirectory checks that it keeps to what is
// said here.
//
// # Revisions
//
// The record has a revision: a number above 0 that grows with every change, and
// may grow without one. A change is known by the revision that it made, which is
// the Version of the placement from then on. So a Version never comes back, not
// even for a key that was forgotten and placed again.
//
// # Consistency
//
// Lookup, Place, Move, Forget are linearizable, among all who share the record:
// whoever asks after a change was acknowledged sees it. A change is durable, as
// far as the Directory is at all, before it is acknowledged.
//
// # Errors
//
// ErrNotPlaced, ErrConflict and ErrInvalidPlacement are answers. When there is
// none, for want of the storage, the error is a *DirectoryError, which is
// ErrDirectoryUnavailable and can be tried again; a change that fails so may
// have been made, or be made yet. After Close, where there is one, it is
// ErrDirectoryClosed. When ctx ends first the error wraps its. Any other error is
// a failure that trying again does not heal. No error's text has a key in it.
type Directory interface {
	// Lookup returns where the key lives, or ErrNotPlaced.
	Lookup(ctx context.Context, key string) (Placement, error)

	// Place records that the key lives in the enclave, unless it has a place.
	// It returns the place that counts, and whether this call recorded it: of
	// any number of calls at the same time one does. So it may be repeated.
	Place(ctx context.Context, key, enclaveID string) (p Placement, placed bool, err error)

	// Move records that a key that was placed so lives in another enclave now,
	// and returns that. When its Version is another by now it changes nothing
	// and returns ErrConflict with the Placement that counts; when the key has
	// no place, ErrNotPlaced. A Move to where it is makes a new Version.
	Move(ctx context.Context, from Placement, enclaveID string) (Placement, error)

	// Forget takes the key's place away. Errors as for Move.
	Forget(ctx context.Context, p Placement) error

	// List returns placements with keys after the given one, in the order of
	// their bytes: at most limit, and fewer only where there are no more or where
	// they would be too many for one answer. limit is 1 to 10 000. A page is as
	// of one revision, but the next one is as of another.
	List(ctx context.Context, after string, limit int) (Page, error)

	// Watch yields the changes after a revision, as they come, in the order of
	// their revisions: whoever watches from where it read misses none. A change
	// that a later one of the same key has overtaken may be left out; the last
	// one of a key never.
	//
	// Where the Directory does not remember so far back (it has been compacted,
	// restarted, or replaced), and where after is Now, the next Change but for
	// progress is a ChangeReset: forget what you know of before. A watcher that is slow may be
	// sent one at any time. When nothing changes there is a ChangeProgress as soon
	// as the watch is on, and at least every ProgressInterval.
	//
	// The last pair has an error and no Change: ctx's; ErrDirectoryClosed; or,
	// when the Directory can not go on, a *DirectoryError. Watch again then, after
	// the last Revision that you have seen.
	Watch(ctx context.Context, after uint64) iter.Seq2[Change, error]
}

// Placement says where a key lives.
type Placement struct {
	Key       string
	EnclaveID string
	// Version is the revision that made the placement what it is.
	Version uint64
	// AsOf is the revision of the record that this was read from: no change up
	// to it is missing. At least Version.
	AsOf uint64
}

// Page is a part of what is in a Directory.
type Page struct {
	Placements []Placement
	// Revision is that of the record that all of the page was read from.
	Revision uint64
	// More: there are others, after the last of these.
	More bool
}

// ChangeKind is what a Change is about.
type ChangeKind uint8

const (
	// ChangePlaced: the key has a place, and had none.
	ChangePlaced ChangeKind = iota + 1
	// ChangeMoved: the key's place is another.
	ChangeMoved
	// ChangeForgotten: the key has no place any more.
	ChangeForgotten
	// ChangeProgress: every change up to Revision has been yielded.
	ChangeProgress
	// ChangeReset: changes up to Revision may be missing; those after it follow.
	ChangeReset
)

// String returns the name of the kind in lower case: "placed".
func (k ChangeKind) String() string {
	switch k {
	case ChangePlaced:
		return "placed"
	case ChangeMoved:
		return "moved"
	case ChangeForgotten:
		return "forgotten"
	case ChangeProgress:
		return "progress"
	case ChangeReset:
		return "reset"
	}
	return "unknown"
}

// Change is what a Watch yields.
type Change struct {
	Kind ChangeKind
	// Key is empty for ChangeProgress and ChangeReset.
	Key string
	// EnclaveID is where the key lives now; empty when it was forgotten.
	EnclaveID string
	// Revision is the one that the change made: the Version of the placement.
	Revision uint64
}
