package claims

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/docs/check/internal/tool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	declared = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
	target   = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	// A name may be cut short by an ellipsis.
	named  = regexp.MustCompile("`((?:Test|Fuzz|Benchmark|Example)[A-Z]\\w*)(…?)`")
	making = regexp.MustCompile("`make ([a-z][a-z-]*)[` ]")
)

// documents are all but the changelog, which speaks of what was.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	walk(t, ".md", func(path, text string) { out[path] = text })
	delete(out, "CHANGELOG.md")
	if len(out) < 10 {
		t.Fatalf("%d documents", len(out))
	}
	return out
}

// walk reads the files of the repository whose names end so.
func walk(t *testing.T, suffix string, each func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(tool.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != tool.Root && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir // .git, and caches
		}
		if d.IsDir() || !strings.HasSuffix(path, suffix) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(tool.Root, path)
		each(name, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryTestThatADocumentNamesExists(t *testing.T) {
	var tests []string
	walk(t, "_test.go", func(_, text string) {
		for _, m := range declared.FindAllStringSubmatch(text, -1) {
			tests = append(tests, m[1])
		}
	})
	seen := 0
	for path, text := range documents(t) {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			seen++
			if !slices.ContainsFunc(tests, func(name string) bool { return name == m[1] || m[2] != "" && strings.HasPrefix(name, m[1]) }) {
				t.Errorf("%s: there is no %s", path, m[1])
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d tests are named", seen)
	}
}

func TestEveryMakefileTargetThatADocumentNamesExists(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(tool.Root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range target.FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, m[1])
	}
	seen := 0
	for path, text := range documents(t) {
		for _, m := range making.FindAllStringSubmatch(text, -1) {
			seen++
			if !slices.Contains(targets, m[1]) {
				t.Errorf("%s: there is no target %s", path, m[1])
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d targets are named", seen)
	}
}
