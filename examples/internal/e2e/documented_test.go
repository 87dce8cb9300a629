package e2e

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

const observability = "../../../docs/observability.md"

// tableRows returns the rows of all tables of the page with that many columns, without the backticks around a whole cell.
func tableRows(t *testing.T, columns int) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(observability)
	if err != nil {
		t.Fatal(err)
	}
	heading := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			heading = true
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != columns || heading || strings.HasPrefix(line, "|---") {
			heading = false
			continue
		}
		for i, c := range cells {
			if cells[i] = strings.TrimSpace(c); cells[i] == "" {
				t.Errorf("an empty cell: %s", line)
			}
		}
		rows = append(rows, cells)
	}
	return rows
}

var inBackticks = regexp.MustCompile("`([^`]+)`")

// quoted are the words in backticks.
func quoted(cell string) (words []string) {
	for _, m := range inBackticks.FindAllStringSubmatch(cell, -1) {
		words = append(words, m[1])
	}
	return words
}

// family is a metric as it is documented, or as it is exported.
type family struct {
	kind   string
	labels []string            // sorted
	values map[string][]string // of the labels other than enclave_id
	series int                 // of one enclave
}

// documentedMetrics reads the tables of metrics, by Prometheus's names.
func documentedMetrics(t *testing.T) map[string]family {
	t.Helper()
	all := map[string]family{}
	for _, row := range tableRows(t, 7) {
		otel, name := strings.Trim(row[0], "`"), strings.Trim(row[1], "`")
		if _, twice := all[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		f := family{kind: row[2], values: map[string][]string{}}
		if want := map[bool]string{true: otel + "_total", false: otel}[f.kind == "counter"]; otel != "–" && name != want {
			t.Errorf("%s is %s in Prometheus, want %s", otel, name, want)
		}
		for part := range strings.SplitSeq(row[4], ",") {
			words := quoted(part)
			if len(words) == 0 {
				continue
			}
			f.labels = append(f.labels, words[0])
			if len(words) > 1 {
				f.values[words[0]] = words[1:]
			}
		}
		slices.Sort(f.labels)
		var err error
		if f.series, err = strconv.Atoi(row[5]); err != nil {
			t.Errorf("%s: series: %v", name, err)
		}
		all[name] = f
	}
	return all
}

// exportedMetrics reads /metrics as it is.
func exportedMetrics(t *testing.T, st *stack.Stack) map[string]family {
	t.Helper()
	req, err := http.NewRequestWithContext(limited(t), http.MethodGet, "http://"+st.Gateway.HTTP+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	all := map[string]family{}
	name := "" // of the family that the lines belong to
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) == 4 && words[0] == "#" && words[1] == "TYPE" {
			name = words[2]
			all[name] = family{kind: words[3], values: map[string][]string{}}
			continue
		}
		samples, err := stack.ParseMetrics(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			f := all[name]
			if id := s.Labels["enclave_id"]; id == "a" || id == "" {
				f.series++
			}
			delete(s.Labels, "le")
			f.labels = slices.Sorted(maps.Keys(s.Labels))
			for label, value := range s.Labels {
				if label != "enclave_id" && !slices.Contains(f.values[label], value) {
					f.values[label] = append(f.values[label], value)
				}
			}
			all[name] = f
		}
	}
	return all
}

func TestEveryMetricOfTheGatewayIsDocumentedAndEveryDocumentedOneIsThere(t *testing.T) {
	st := launch(t, 2, fewConns)
	c := dial(t, st)
	keyOn(t, st, c, "a")
	st.Enclaves[0].Kill() // some metrics are there once something has happened
	awaitConns(t, st, "a", 0)
	if err := st.Enclaves[0].Start(limited(t)); err != nil {
		t.Fatal(err)
	}
	awaitConns(t, st, "a", fewConns)

	documented, exported := documentedMetrics(t), exportedMetrics(t, st)
	others := 0
	for name, got := range exported {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			others++
			continue
		}
		want, ok := documented[name]
		if !ok {
			t.Errorf("%s is exported and not documented", name)
			continue
		}
		if got.kind != want.kind {
			t.Errorf("%s is a %s, documented as a %s", name, got.kind, want.kind)
		}
		if !slices.Equal(got.labels, want.labels) {
			t.Errorf("%s has the labels %q, documented are %q", name, got.labels, want.labels)
		}
		if got.series > want.series {
			t.Errorf("%s has %d series of one enclave, documented are %d at most", name, got.series, want.series)
		}
		for label, values := range got.values {
			for _, v := range values {
				if !slices.Contains(want.values[label], v) {
					t.Errorf("%s has the %s %q, which is not documented", name, label, v)
				}
			}
		}
	}
	for name, want := range documented {
		if _, ok := exported[name]; !ok {
			t.Errorf("%s is documented and not exported", name)
		}
		product := 1
		for _, values := range want.values {
			product *= len(values)
		}
		if want.kind != "histogram" && product != want.series {
			t.Errorf("%s: %d series, and its labels have %d combinations", name, want.series, product)
		}
	}
	if others == 0 {
		t.Error("no go_ and process_ metrics are exported, and the page says there are")
	}
}

// message is a call of a logger in the source.
type message struct {
	level string
	keys  []string
}

// loggedMessages finds the messages above debug in the packages' sources.
func loggedMessages(t *testing.T, folders ...string) map[string]message {
	t.Helper()
	all := map[string]message{}
	for _, folder := range folders {
		paths, err := filepath.Glob(filepath.Join("../../..", folder, "*.go"))
		if err != nil || len(paths) == 0 {
			t.Fatal(folder, err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				method, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || !slices.Contains([]string{"Info", "Warn", "Error"}, method.Sel.Name) || len(call.Args) == 0 {
					return true
				}
				text, ok := literal(call.Args[0])
				if !ok {
					return true
				}
				m := message{level: strings.ToLower(method.Sel.Name)}
				for i := 1; i < len(call.Args); i += 2 {
					key, ok := literal(call.Args[i])
					if !ok {
						t.Errorf("%s: %q has a key that is not written out", path, text)
					}
					m.keys = append(m.keys, key)
				}
				// The same message may say more in one place than in another.
				if before, twice := all[text]; twice {
					m.keys = append(m.keys, before.keys...)
				}
				slices.Sort(m.keys)
				m.keys = slices.Compact(m.keys)
				all[text] = m
				return true
			})
		}
	}
	return all
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

func TestEveryLogMessageIsDocumentedWithItsAttributes(t *testing.T) {
	logged := loggedMessages(t, "pool", "pool/envconfig", "examples/gateway", "examples/internal/gateway")
	if len(logged) < 20 {
		t.Fatalf("only %d messages found", len(logged))
	}
	documented := map[string]bool{}
	for _, row := range tableRows(t, 4) {
		text := strings.Trim(row[1], "`")
		documented[text] = true
		m, ok := logged[text]
		if !ok {
			t.Errorf("%q is documented and not logged", text)
			continue
		}
		keys := slices.DeleteFunc(quoted(row[2]), func(k string) bool { return k == "path" }) // every one of envconfig's has it
		slices.Sort(keys)
		if row[0] != m.level || !slices.Equal(keys, m.keys) {
			t.Errorf("%q: %s with %q, documented as %s with %q", text, m.level, m.keys, row[0], keys)
		}
	}
	for text := range logged {
		if !documented[text] {
			t.Errorf("%q is logged and not documented", text)
		}
	}
}

// What the events contain is tested in package pool.
func TestEverySpanEventIsDocumented(t *testing.T) {
	source, err := os.ReadFile("../../../pool/trace.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`event\w+ += "(pool\.\w+)"`).FindAllStringSubmatch(string(source), -1)
	var code, page []string
	for _, n := range names {
		code = append(code, n[1])
	}
	for _, row := range tableRows(t, 3) {
		page = append(page, strings.Trim(row[0], "`"))
	}
	if !slices.Equal(code, page) || len(code) == 0 {
		t.Errorf("events %q, documented are %q", code, page)
	}
}
