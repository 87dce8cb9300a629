package observability

import (
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"

	"github.com/enclavepool/enclavepool/docs/check/internal/tool"
)

// rulesFile is a file of Prometheus rules, as far as we write them.
type rulesFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Record      string            `json:"record"`
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// testsFile is what we read of a file of promtool's rule tests.
type testsFile struct {
	Tests []struct {
		AlertTests []struct {
			Alert string `json:"alertname"`
			Fires []any  `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	} `json:"tests"`
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file rulesFile
	if err := yaml.UnmarshalStrict([]byte(read(t, filepath.Join(folder, "rules.yml"))), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func TestPromtoolAcceptsTheRulesAndTheirTestsPass(t *testing.T) {
	promtool := tool.Path(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = folder
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "SUCCESS") {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func TestEveryAlertIsTestedFiringAndNotFiring(t *testing.T) {
	var file testsFile
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(folder, "rules_test.yml"))), &file); err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, a := range test.AlertTests {
			if len(a.Fires) > 0 {
				fires[a.Alert] = true
			} else {
				silent[a.Alert] = true
			}
		}
	}
	for _, r := range rules(t) {
		if r.Alert != "" && (!fires[r.Alert] || !silent[r.Alert]) {
			t.Errorf("%s: tested firing %v, tested silent %v", r.Alert, fires[r.Alert], silent[r.Alert])
		}
	}
}

func TestRulesUseOnlyWhatTheGatewayExports(t *testing.T) {
	names := exported(t)
	for _, r := range rules(t) {
		for _, p := range problems(r.Expr, names) {
			t.Errorf("%s%s: %s", r.Record, r.Alert, p)
		}
		if r.Record != "" {
			names[r.Record] = labelsIn(t, r.Expr, names)
		}
	}
}

// labelsIn are the labels of everything that a query selects.
func labelsIn(t *testing.T, query string, names map[string]labelSet) labelSet {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		t.Fatal(err)
	}
	all := labelSet{}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			maps.Copy(all, names[v.Name])
		}
		return nil
	})
	return all
}

var (
	templateLabel = regexp.MustCompile(`\$labels\.(\w+)`)
	heading       = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

func TestEveryAlertSaysWhatItIsAndWhereToRead(t *testing.T) {
	const runbook = "docs/runbook/conn-pool.md"
	anchors := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(read(t, filepath.Join(tool.Root, runbook)), -1) {
		anchors[strings.ToLower(strings.ReplaceAll(h[1], " ", "-"))] = true
	}
	table := read(t, filepath.Join(folder, "README.md"))
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: severity is %q", r.Alert, s)
		}
		if got := slices.Sorted(maps.Keys(r.Annotations)); !slices.Equal(got, []string{"description", "runbook_url", "summary"}) {
			t.Errorf("%s has the annotations %v", r.Alert, got)
		}
		file, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "#")
		if !strings.HasSuffix(file, "/"+runbook) || anchor != strings.ToLower(r.Alert) || !anchors[anchor] {
			t.Errorf("%s: the runbook has no heading for %s#%s", r.Alert, file, anchor)
		}
		if !strings.Contains(table, "| "+r.Alert+" |") || !strings.Contains(table, "| "+r.Labels["severity"]+" |") {
			t.Errorf("%s is not in the table of alerts", r.Alert)
		}
		for _, text := range r.Annotations {
			for _, l := range templateLabel.FindAllStringSubmatch(text, -1) {
				if l[1] != "enclave_id" && l[1] != "instance" {
					t.Errorf("%s speaks of a label %s", r.Alert, l[1])
				}
			}
		}
	}
}
