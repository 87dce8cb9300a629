package envconfig

import (
	"slices"
	"strings"
	"testing"
)

// written is a file that says what s does; false: it cannot be said, since a value has both quotes and more.
func (s snapshot) written() (string, bool) {
	var b strings.Builder
	for _, a := range s.assignments {
		switch {
		case !strings.Contains(a.value, `"`):
			b.WriteString(a.name + `="` + a.value + "\"\n")
		case !strings.Contains(a.value, `'`):
			b.WriteString("export " + a.name + `='` + a.value + "' # a comment\n")
		default:
			return "", false
		}
	}
	return b.String(), true
}

// FuzzFile holds the reader of env files to saying something of every line, and to reading back what it has read.
func FuzzFile(f *testing.F) {
	for _, s := range []string{
		"", "\ufeff# sizes\n\nSIGN_CONN_POOL_MIN=24\r\n", "  export SIGN_CONN_POOL_MAX=48 # as measured", "A='1s' # quoted", `A="off"`, "A=\nA=1",
		"SIGN_CONN_POOL_MIN=1\nSIGN_CONN_POOL_MIN=2", "A=$B", "A='", "A=\"'\"", "=x", "A =1", "export", "export =", "A=#", "A= #x", "A=x#y", "\x00=\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := parseFile("f", text)
		lines := 0
		for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				lines++
			}
		}
		if got := len(s.assignments) + len(s.problems); got != lines {
			t.Fatalf("%d assignments and %d problems of %d lines", len(s.assignments), len(s.problems), lines)
		}
		for _, a := range s.assignments {
			if !nameForm.MatchString(a.name) || strings.Contains(a.value, "\n") {
				t.Fatalf("%+v", a)
			}
		}
		again, ok := s.written()
		if !ok {
			return
		}
		back := parseFile("f", again)
		same := func(a, b assignment) bool { return a.name == b.name && a.value == b.value }
		if len(back.problems) > 0 || !slices.EqualFunc(s.assignments, back.assignments, same) {
			t.Fatalf("%q\nis      %+v\nwritten %q\nis      %+v, %v", text, s.assignments, again, back.assignments, back.problems)
		}
	})
}
