//go:build unix

package envconfig_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/envconfig"
)

func TestSIGHUPAppliesTheFileChangedOrNot(t *testing.T) {
	applied := make(chan int, 1)
	w := &watched{dir: t.TempDir()}
	path := write(t, w.dir+"/pool.env", size(16))
	stop := w.watch(t, path, func(cfg pool.Config) error { applied <- cfg.MinConns; return nil }, envconfig.WithInterval(0))
	next := func(want int) {
		t.Helper()
		select {
		case n := <-applied:
			if n != want {
				t.Errorf("applied %d, want %d", n, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("nothing was applied")
		}
	}
	hangUp := func() {
		t.Helper()
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	next(16) // from here on Watch has the signal
	hangUp()
	next(16)
	write(t, path, size(24))
	hangUp()
	next(24)

	// A file that is away changes nothing, and one that is back is applied.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	hangUp()
	write(t, path+".new", size(8))
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	hangUp()
	next(8)
	stop()
}
