package observability

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// dashboard is what we read of Grafana's JSON.
type dashboard struct {
	Title         string `json:"title"`
	UID           string `json:"uid"`
	SchemaVersion int    `json:"schemaVersion"`
	Panels        []panel
	Templating    struct {
		List []struct {
			Name, Type, Definition string
			Query                  json.RawMessage
		}
	}
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               source
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		Expr, LegendFormat, RefID string
		Datasource                source
	}
}

type source struct{ Type, UID string }

func load(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, filepath.Join(folder, "grafana-dashboard.json"))), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// variables stand for what Grafana puts into a query.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$enclave_id", ".*", "$instance", ".*")

var legendLabel = regexp.MustCompile(`{{(\w+)}}`)

func TestEveryQueryOfTheDashboardUsesOnlyWhatTheGatewayExports(t *testing.T) {
	names := exported(t)
	used := map[string]bool{}
	for _, p := range load(t).Panels {
		for _, q := range p.Targets {
			query := variables.Replace(q.Expr)
			for _, wrong := range problems(query, names) {
				t.Errorf("%s: %s: %s", p.Title, q.Expr, wrong)
				continue
			}
			_, perEnclave := labelsIn(t, query, names)["enclave_id"]
			if strings.Contains(query, "$") || !strings.Contains(q.Expr, "$instance") || perEnclave && !strings.Contains(q.Expr, "$enclave_id") {
				t.Errorf("%s: the query does not follow the dashboard's variables, or knows others: %s", p.Title, q.Expr)
			}
			for name := range names {
				used[name] = used[name] || strings.Contains(q.Expr, name)
			}
			has := labelsIn(t, query, names)
			for _, l := range legendLabel.FindAllStringSubmatch(q.LegendFormat, -1) {
				if _, found := has[l[1]]; !found {
					t.Errorf("%s: the legend speaks of a label %s", p.Title, l[1])
				}
			}
		}
	}
	for name := range names {
		if !used[name] && !strings.HasSuffix(name, "_sum") && !used[strings.TrimSuffix(name, "_count")+"_bucket"] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func TestTheDashboardCanBeImportedAnywhere(t *testing.T) {
	d := load(t)
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 36 {
		t.Errorf("title %q, uid %q, schema version %d", d.Title, d.UID, d.SchemaVersion)
	}
	var vars []string
	for _, v := range d.Templating.List {
		vars = append(vars, v.Name+":"+v.Type)
	}
	if got := strings.Join(vars, " "); got != "datasource:datasource instance:query enclave_id:query" {
		t.Errorf("variables %s", got)
	}
	ids, places := map[int]bool{}, map[string]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 || p.Title == "" {
			t.Errorf("%q: ID %d is taken, or something is missing", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				at := fmt.Sprint(x, ",", y)
				if other := places[at]; other != "" || x >= 24 {
					t.Fatalf("%s and %q are in the same place, or beside the grid", p.Title, other)
				}
				places[at] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("%s: description %q, unit %q, %d queries", p.Title, p.Description, p.FieldConfig.Defaults.Unit, len(p.Targets))
		}
		sources := []source{p.Datasource}
		for _, q := range p.Targets {
			sources = append(sources, q.Datasource)
		}
		for _, s := range sources {
			if s != (source{"prometheus", "${datasource}"}) {
				t.Errorf("%s: data source %+v", p.Title, s)
			}
		}
	}
	names := map[string]bool{}
	for _, r := range rules(t) {
		names[r.Alert] = true
	}
	for _, p := range d.Panels {
		_, mentioned, found := strings.Cut(p.Description, "Alert")
		for _, word := range regexp.MustCompile(`\b[A-Z]\w+(Min|Slow|Exhausted|Degraded|Down|Resets|Ejected|Rejected|Missing)\b`).FindAllString(mentioned, -1) {
			if found && !names[word] {
				t.Errorf("%s mentions an alert %s", p.Title, word)
			}
		}
	}
}
