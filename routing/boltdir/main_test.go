package boltdir_test

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/routing/boltdir"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		placeUntilKilled(path)
	}
	goleak.VerifyTestMain(m)
}

// open returns a directory that is closed with the test.
func open(t *testing.T, path string, opts ...boltdir.Option) *boltdir.Directory {
	t.Helper()
	d, err := boltdir.Open(path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func newFile(t *testing.T) string { return filepath.Join(t.TempDir(), "places.db") }
