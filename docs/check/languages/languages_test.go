package languages

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/docs/check/internal/tool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// translated are the documents in two languages, without ".md".
var translated = []string{"README", "docs/runbook/conn-pool"}

// others are documents in English alone whose links are checked.
var others = []string{"docs/observability/README", "docs/deploy/README", "docs/deploy/kubernetes/README",
	"docs/security", "docs/bounds"}

func load(t *testing.T, name string) (page, string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(tool.Root, name))
	if err != nil {
		t.Fatal(err)
	}
	return parse(string(text)), string(text)
}

func TestBothLanguagesHaveTheSameHeadingsCodeAndTables(t *testing.T) {
	for _, name := range translated {
		english, _ := load(t, name+".md")
		chinese, text := load(t, name+".zh-CN.md")
		if len(english.headings) < 5 || len(english.blocks) < 5 {
			t.Fatalf("%s has %d headings and %d blocks", name, len(english.headings), len(english.blocks))
		}
		if len(english.headings) != len(chinese.headings) {
			t.Errorf("%s: %d headings, in Chinese %d", name, len(english.headings), len(chinese.headings))
		}
		for i := range min(len(english.headings), len(chinese.headings)) {
			e, c := english.headings[i], chinese.headings[i]
			if e.level != c.level {
				t.Errorf("%s: heading %d is %q of level %d, in Chinese %q of level %d", name, i+1, e.text, e.level, c.text, c.level)
			}
		}
		same(t, name, "block", english.blocks, chinese.blocks)
		same(t, name, "directive", english.comments, chinese.comments)
		if !slices.Equal(english.rows, chinese.rows) {
			t.Errorf("%s: the tables have %v rows, in Chinese %v", name, english.rows, chinese.rows)
		}
		if n := strings.IndexFunc(text, func(r rune) bool { return unicode.Is(unicode.Han, r) }); n < 0 {
			t.Errorf("%s.zh-CN.md has no Chinese in it", name)
		}
	}
}

// same compares code, which is not translated.
func same(t *testing.T, name, what string, english, chinese []string) {
	t.Helper()
	for i := range max(len(english), len(chinese)) {
		if i >= len(english) || i >= len(chinese) {
			t.Errorf("%s: %d %ss, in Chinese %d", name, len(english), what, len(chinese))
			return
		}
		if english[i] != chinese[i] {
			t.Errorf("%s: %s %d differs:\n%s\nin Chinese:\n%s", name, what, i+1, english[i], chinese[i])
			return // those behind it are probably shifted
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	var all []string
	for _, name := range translated {
		all = append(all, name+".md", name+".zh-CN.md")
	}
	for _, name := range others {
		all = append(all, name+".md")
	}
	for _, name := range all {
		p, _ := load(t, name)
		for _, l := range p.links {
			if strings.Contains(l, "://") {
				continue
			}
			file, section, _ := strings.Cut(l, "#")
			there := p
			if file != "" {
				path := filepath.Join(filepath.Dir(name), file)
				if _, err := os.Stat(filepath.Join(tool.Root, path)); err != nil {
					t.Errorf("%s: %s leads nowhere", name, l)
					continue
				}
				if section != "" {
					there, _ = load(t, path)
				}
			}
			if section != "" && !there.anchors()[section] {
				t.Errorf("%s: %s: there is no such heading", name, l)
			}
		}
	}
}

func TestAPageIsTakenApart(t *testing.T) {
	p := parse("# One, two!\n\n| a |\n|---|\n| b |\n\n```sh x\n# no heading\n[no](link)\n```\n<!-- test: kill a -->\n## 三 `f_x`\n[b](c#d)\n")
	if len(p.headings) != 2 || anchor(p.headings[0].text) != "one-two" || !p.anchors()["三-f_x"] {
		t.Errorf("headings %v", p.headings)
	}
	if !slices.Equal(p.blocks, []string{"```sh x\n# no heading\n[no](link)\n```"}) || !slices.Equal(p.rows, []int{3}) ||
		!slices.Equal(p.links, []string{"c#d"}) || len(p.comments) != 1 {
		t.Errorf("%+v", p)
	}
}
