package observability

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/docs/check/internal/tool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder is docs/observability.
var folder = filepath.Join(tool.Root, "docs/observability")

// A labelSet has the labels of a series name.
type labelSet = map[string]bool

var (
	metricRow = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (gauge|counter|histogram) \\| [^|]+ \\| ([^|]+) \\|")
	quoted    = regexp.MustCompile("`([a-z_]+)`")
)

// exported reads the table of metrics: the names that queries may use, with their labels.
func exported(t *testing.T) map[string]labelSet {
	t.Helper()
	page := read(t, filepath.Join(folder, "README.md"))
	names := map[string]labelSet{}
	for _, row := range metricRow.FindAllStringSubmatch(page, -1) {
		has := labelSet{"instance": true, "job": true} // Prometheus's own
		for _, l := range quoted.FindAllStringSubmatch(row[3], -1) {
			has[l[1]] = true
		}
		if row[2] != "histogram" {
			names[row[1]] = has
			continue
		}
		names[row[1]+"_count"], names[row[1]+"_sum"] = has, has
		bucket := labelSet{"le": true}
		for l := range has {
			bucket[l] = true
		}
		names[row[1]+"_bucket"] = bucket
	}
	if len(names) < 10 {
		t.Fatalf("the table of metrics in %s has %d names", folder, len(names))
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}
