package boltdir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	bolterrors "go.etcd.io/bbolt/errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"go.etcd.io/bbolt"

	"github.com/enclavepool/enclavepool/routing"
)

// The file has two buckets. metaBucket: formatKey says what this is, revisionKey
// has the revision. keysBucket: for each key the version of its placement, then
// the enclave's ID. Numbers are of eight bytes, the most significant first.
var (
	metaBucket, keysBucket = []byte("meta"), []byte("keys")
	formatKey, revisionKey = []byte("format"), []byte("revision")
	format                 = []byte("enclavepool placements 1")
)

// openFile returns the database and its revision.
func openFile(path string, lockTimeout time.Duration) (*bbolt.DB, uint64, error) {
	_, err := os.Stat(path)
	isNew := errors.Is(err, os.ErrNotExist)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, 0, fmt.Errorf("%w: waited %v", ErrLocked, lockTimeout)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return nil, 0, fmt.Errorf("%w: %w", ErrFormat, err)
	case err != nil:
		return nil, 0, err
	}
	revision, err := prepare(db)
	if err == nil && isNew {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return nil, 0, errors.Join(err, db.Close())
	}
	return db, revision, nil
}

// prepare makes an empty database a directory, and checks any other.
func prepare(db *bbolt.DB) (revision uint64, err error) {
	empty := false
	err = db.View(func(tx *bbolt.Tx) error {
		first, _ := tx.Cursor().First()
		if empty = first == nil; empty {
			return nil
		}
		meta := tx.Bucket(metaBucket)
		if meta == nil || tx.Bucket(keysBucket) == nil {
			return ErrFormat
		}
		if f := meta.Get(formatKey); !bytes.Equal(f, format) {
			return fmt.Errorf("%w: it is %.40q; valid: %q", ErrFormat, f, format)
		}
		raw := meta.Get(revisionKey)
		if len(raw) != 8 {
			return fmt.Errorf("%w: a revision of %d bytes", ErrFormat, len(raw))
		}
		revision = binary.BigEndian.Uint64(raw)
		return nil
	})
	if err != nil || !empty {
		return revision, err
	}
	return 1, db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		if _, err = tx.CreateBucket(keysBucket); err != nil {
			return err
		}
		return errors.Join(meta.Put(formatKey, format), meta.Put(revisionKey, binary.BigEndian.AppendUint64(nil, 1)))
	})
}

// syncFolder makes the name of a new file outlive a loss of power.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" { // a folder can not be synced there
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// reader reads in one transaction. What it returns are copies.
type reader struct {
	keys     *bbolt.Bucket
	revision uint64
}

func readerOf(tx *bbolt.Tx) reader {
	return reader{tx.Bucket(keysBucket), binary.BigEndian.Uint64(tx.Bucket(metaBucket).Get(revisionKey))}
}

func (r reader) placement(key string) (routing.Placement, bool) {
	value := r.keys.Get([]byte(key))
	if value == nil {
		return routing.Placement{}, false
	}
	return r.decode(key, value), true
}

func (r reader) decode(key string, value []byte) routing.Placement {
	return routing.Placement{Key: key, EnclaveID: string(value[8:]), Version: binary.BigEndian.Uint64(value), AsOf: r.revision}
}

func (r reader) page(after string, limit int) routing.Page {
	page := routing.Page{Revision: r.revision}
	c := r.keys.Cursor()
	key, value := c.Seek([]byte(after))
	if key != nil && string(key) == after {
		key, value = c.Next()
	}
	for ; key != nil; key, value = c.Next() {
		if len(page.Placements) == limit {
			page.More = true
			break
		}
		page.Placements = append(page.Placements, r.decode(string(key), value))
	}
	return page
}
