package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
)

// Binary returns the path of an etcd server: what ENCLAVEPOOL_ETCD says, or the one
// in the user's cache folder, which it builds first where that is to be done.
func Binary() (string, error) { return binary() }

var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("ENCLAVEPOOL_ETCD"); path != "" {
		return exec.LookPath(path)
	}
	_, here, _, ok := runtime.Caller(0)
	source := filepath.Join(filepath.Dir(here), "server")
	if _, err := os.Stat(source); !ok || err != nil {
		return "", errors.New("the source of package etcdtest is not here to build etcd from; set ENCLAVEPOOL_ETCD to an etcd server")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, "enclavepool")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	// Built aside and renamed: several tests may do it at once. It does nothing but
	// link where Go's own cache has it all.
	path := filepath.Join(folder, "etcd")
	if sums, err := os.Stat(filepath.Join(source, "go.sum")); err == nil {
		if built, err := os.Stat(path); err == nil && built.ModTime().After(sums.ModTime()) {
			return path, nil
		}
	}
	aside := fmt.Sprintf("%s.%d", path, os.Getpid())
	build := exec.CommandContext(context.Background(), "go", "build", "-o", aside, ".")
	build.Dir = source
	build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building etcd in %s: %w\n%s", source, err, out)
	}
	return path, os.Rename(aside, path)
})
