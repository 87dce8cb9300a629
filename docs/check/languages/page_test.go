package languages

import (
	"regexp"
	"strings"
	"unicode"
)

// page is a document in Markdown, taken apart.
type page struct {
	headings []heading
	blocks   []string // fenced, with the line that opens them
	comments []string // directives to tests
	rows     []int    // of each table
	links    []string
}

type heading struct {
	level int
	text  string
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func parse(text string) (p page) {
	var block []string
	inBlock, inTable := false, false
	for _, line := range strings.Split(text, "\n") {
		fence := strings.HasPrefix(line, "```")
		if inBlock || fence {
			block = append(block, line)
			if inBlock && line == "```" {
				p.blocks, block = append(p.blocks, strings.Join(block, "\n")), nil
			}
			if fence {
				inBlock = !inBlock
			}
			inTable = false
			continue
		}
		for _, m := range link.FindAllStringSubmatch(line, -1) {
			p.links = append(p.links, m[1])
		}
		row := strings.HasPrefix(line, "|")
		switch {
		case row && inTable:
			p.rows[len(p.rows)-1]++
		case row:
			p.rows = append(p.rows, 1)
		case strings.HasPrefix(line, "#"):
			level := len(line) - len(strings.TrimLeft(line, "#"))
			p.headings = append(p.headings, heading{level, strings.TrimSpace(line[level:])})
		case strings.HasPrefix(line, "<!--"):
			p.comments = append(p.comments, line)
		}
		inTable = row
	}
	return p
}

// anchor is what GitHub makes of a heading.
func anchor(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}

func (p page) anchors() map[string]bool {
	all := map[string]bool{}
	for _, h := range p.headings {
		all[anchor(h.text)] = true
	}
	return all
}
