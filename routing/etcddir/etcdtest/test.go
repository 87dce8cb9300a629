package etcdtest

import (
	"context"
	"os"
	"testing"
	"time"
)

// New starts a cluster of n members that ends with the test. Where there is no
// server and none can be built the test is skipped, but for where that would hide
// something: with CI set, or ENCLAVEPOOL_TOOLS=required, it fails.
func New(t testing.TB, n int) *Cluster {
	t.Helper()
	if _, err := Binary(); err != nil {
		if os.Getenv("CI") == "" && os.Getenv("ENCLAVEPOOL_TOOLS") != "required" {
			t.Skipf("no etcd server (install Debian's etcd-server and set ENCLAVEPOOL_ETCD=etcd): %v", err)
		}
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	folder := t.TempDir()
	// In memory where there is such a place: kill -9 does not take it away, and etcd
	// waits for the disk with every change.
	if inMemory, err := os.MkdirTemp("/dev/shm", "etcdtest"); err == nil {
		folder = inMemory
		t.Cleanup(func() {
			if err := os.RemoveAll(folder); err != nil {
				t.Error(err)
			}
		})
	}
	c, err := Start(ctx, folder, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
