//go:build unix

package enclave

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASocketIsForThisUserAloneAndSoIsTheFolderMadeForIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "e.sock")
	lis, err := Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	for name, want := range map[string]fs.FileMode{path: fs.ModeSocket | 0o600, filepath.Dir(path): fs.ModeDir | 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	if who := Exposed("unix:" + path); who != "" {
		t.Errorf("it is said to be exposed to %s", who)
	}
}

func TestASocketWhosePlaceOthersCanTakeIsSaidToBeExposed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"unix:" + filepath.Join(dir, "e.sock"): dir,
		"unix-abstract:e":                      "any process",
		"vsock:16:5000":                        "",
		"localhost:1":                          "",
	} {
		if who := Exposed(address); (want == "") != (who == "") || !strings.Contains(who, want) {
			t.Errorf("%s: %q, want %q in it", address, who, want)
		}
	}
}
