package observability

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// problems says what is wrong with a query, given the names and labels that there are.
func problems(query string, names map[string]labelSet) []string {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return []string{err.Error()}
	}
	var wrong []string
	known := map[string]bool{} // of all selectors; what grouping and matching may name
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			has, found := names[v.Name]
			if !found {
				wrong = append(wrong, "no metric is called "+v.Name)
			}
			for l := range has {
				known[l] = true
			}
			for _, m := range v.LabelMatchers {
				values, there := has[m.Name]
				switch {
				case m.Name == "__name__" || !found:
				case !there:
					wrong = append(wrong, v.Name+" has no label "+m.Name)
				case values != nil && !slices.ContainsFunc(values, m.Matches):
					wrong = append(wrong, v.Name+" never has "+m.String())
				}
			}
		}
		return nil
	})
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		var named []string
		switch n := node.(type) {
		case *parser.AggregateExpr:
			named = n.Grouping
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				named = slices.Concat(n.VectorMatching.MatchingLabels, n.VectorMatching.Include)
			}
		}
		for _, l := range named {
			if !known[l] {
				wrong = append(wrong, "nothing here has the label "+l)
			}
		}
		return nil
	})
	return wrong
}

func TestAQueryIsHeldToNamesAndLabels(t *testing.T) {
	names := map[string]labelSet{"active_conns": {"enclave_id": nil}, "lost_bucket": {"le": nil}, "state": {"state": {"up", "down"}}}
	for query, want := range map[string]string{
		`sum by (enclave_id) (active_conns{enclave_id="a"}) > 1`: "",
		`histogram_quantile(0.9, rate(lost_bucket[5m]))`:         "",
		`active_connections`:                          "no metric is called active_connections",
		`active_conns{enclave="a"}`:                   "active_conns has no label enclave",
		`sum by (conn) (active_conns)`:                "nothing here has the label conn",
		`active_conns / ignoring (code) active_conns`: "nothing here has the label code",
		`state{state=~"up|off"}`:                      "",
		`state{state=~"broken|open"}`:                 "state never has state=~",
		`active_conns +`:                              "unexpected end of input",
	} {
		got := strings.Join(problems(query, names), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}
