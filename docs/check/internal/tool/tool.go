// Package tool finds the programs that tests start and Go cannot build; scripts/tools.sh puts them there.
// It installs nothing. Start with Path.
package tool

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Root is the root of the repository, as the packages beside docs/check/internal see it.
const Root = "../../.."

// Path returns the path of a program, from .cache/tools or the PATH. When it is missing, the test fails where CI is set
// or ENCLAVEPOOL_TOOLS is "required", and is skipped elsewhere.
func Path(t *testing.T, name string) string {
	t.Helper()
	unpacked, err := filepath.Abs(filepath.Join(Root, ".cache/tools", name))
	if err != nil {
		t.Fatal(err)
	}
	for _, candidate := range []string{name, unpacked} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	const advice = "%s is missing; get it with: scripts/tools.sh %s"
	if os.Getenv("CI") != "" || os.Getenv("ENCLAVEPOOL_TOOLS") == "required" {
		t.Fatalf(advice, name, name)
	}
	t.Skipf(advice, name, name)
	return ""
}
