package routing_test

import (
	"os"
	"strings"
	"testing"
)

func TestTheExampleInTheGuideIsTheOneThatRuns(t *testing.T) {
	guide, err := os.ReadFile("../docs/routing.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_selector_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, found := strings.Cut(string(guide), "```go\n")
	code, _, closed := strings.Cut(code, "```\n")
	if !found || !closed || !strings.Contains(string(example), code) {
		t.Errorf("the first block of Go in the guide is not in the example:\n%s", code)
	}
}
