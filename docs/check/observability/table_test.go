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

// A labelSet has the labels of a series name with their values; nil: any.
type labelSet = map[string][]string

var (
	// | OpenTelemetry | `prometheus_name` | kind | unit | `label`, `label`: `value` `value` | …
	metricRow = regexp.MustCompile("(?m)^\\| [^|]+ \\| `([a-z_]+)` \\| (gauge|counter|histogram) \\| [^|]+ \\| ([^|]+) \\|")
	quoted    = regexp.MustCompile("`([^`]+)`")
)

// exported reads the table of metrics: the names that queries may use, with their labels. A test of the examples module
// compares it with what the gateway serves.
func exported(t *testing.T) map[string]labelSet {
	t.Helper()
	names := map[string]labelSet{}
	for _, row := range metricRow.FindAllStringSubmatch(read(t, filepath.Join(tool.Root, "docs/observability.md")), -1) {
		has := labelSet{"instance": nil, "job": nil} // Prometheus's own
		for _, column := range strings.Split(row[3], ",") {
			label, values, _ := strings.Cut(column, ":")
			name := quoted.FindStringSubmatch(label)
			if name == nil {
				continue // "none"
			}
			has[name[1]] = nil
			for _, v := range quoted.FindAllStringSubmatch(values, -1) {
				has[name[1]] = append(has[name[1]], v[1])
			}
		}
		if row[2] != "histogram" {
			names[row[1]] = has
			continue
		}
		names[row[1]+"_count"], names[row[1]+"_sum"] = has, has
		bucket := labelSet{"le": nil}
		for l, values := range has {
			bucket[l] = values
		}
		names[row[1]+"_bucket"] = bucket
	}
	if len(names) < 15 {
		t.Fatalf("the table of metrics has %d names", len(names))
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
