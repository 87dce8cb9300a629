package boltdir_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/boltdir"
	"github.com/enclavepool/enclavepool/routing/routingtest"
)

var ctx = context.Background()

func TestDirectoryKeepsToTheContract(t *testing.T) {
	paths := map[routing.Directory]string{}
	routingtest.RunDirectory(t, func() routing.Directory {
		path := newFile(t)
		d := open(t, path)
		paths[d] = path
		return d
	}, routingtest.Reopened(func(d routing.Directory) routing.Directory {
		if err := d.(*boltdir.Directory).Close(); err != nil {
			t.Fatal(err)
		}
		return open(t, paths[d])
	}), routingtest.Shared(func(d routing.Directory) routing.Directory { return d }))
}

func TestDirectoryWithAShortHistorySaysThatItForgot(t *testing.T) {
	routingtest.RunDirectory(t, func() routing.Directory { return open(t, newFile(t), boltdir.WithHistory(16)) },
		routingtest.Compacted(func(routing.Directory) {}))
}

func TestPlacedOnAFileKeepsToTheContractOfSelectors(t *testing.T) {
	d := open(t, newFile(t))
	routingtest.Run(t, func() routing.Selector {
		p := routing.NewPlaced(routing.NewRendezvous(), d)
		t.Cleanup(func() { _ = p.Close() }) // always nil
		if err := p.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		return p
	}, routingtest.Placing(), routingtest.Keys(64))
}

func TestFileThatIsInUseIsRefused(t *testing.T) {
	path := newFile(t)
	d := open(t, path)
	if _, err := boltdir.Open(path, boltdir.WithLockTimeout(50*time.Millisecond)); !errors.Is(err, boltdir.ErrLocked) {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}

func TestFileOfAnotherKindIsRefusedAndLeftAlone(t *testing.T) {
	database := func(fill func(tx *bbolt.Tx) error) func(string) error {
		return func(path string) error {
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				return err
			}
			return errors.Join(db.Update(fill), db.Close())
		}
	}
	for name, make := range map[string]func(path string) error{
		"text": func(path string) error {
			return os.WriteFile(path, []byte("a text of somebody else's\n"), 0o600)
		},
		"a database of somebody else's": database(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("theirs"))
			return err
		}),
		"a later format": database(func(tx *bbolt.Tx) error {
			meta, err := tx.CreateBucket([]byte("meta"))
			if err != nil {
				return err
			}
			_, err = tx.CreateBucket([]byte("keys"))
			return errors.Join(err, meta.Put([]byte("format"), []byte("enclavepool placements 2")))
		}),
	} {
		t.Run(name, func(t *testing.T) {
			path := newFile(t)
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := boltdir.Open(path); !errors.Is(err, boltdir.ErrFormat) {
				t.Error(err)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
				t.Errorf("it was changed, %v", err)
			}
		})
	}
}

func TestFileThatCanNotBeMadeIsSaidToBe(t *testing.T) {
	for name, path := range map[string]string{"no such folder": filepath.Join(t.TempDir(), "none", "places.db"), "a folder": t.TempDir()} {
		if _, err := boltdir.Open(path); err == nil {
			t.Errorf("%s: it was opened", name)
		}
	}
}

func TestFileIsItsOwnersAlone(t *testing.T) {
	path := newFile(t)
	open(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %o", mode)
	}
}

func TestCallersShareCommits(t *testing.T) {
	d := open(t, newFile(t))
	before := d.Commits()
	var wg sync.WaitGroup
	const callers, each = 64, 10
	for i := range callers {
		wg.Go(func() {
			for j := range each {
				if _, _, err := d.Place(ctx, fmt.Sprint("k", i, "/", j), "a"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// 64 at a time would be 10; half of what one commit each would be says that they share.
	if n := d.Commits() - before; n > callers*each/2 {
		t.Errorf("%d commits for %d placements", n, callers*each)
	}
}
