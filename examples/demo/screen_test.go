package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/load"
)

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

var xterm = env(map[string]string{"TERM": "xterm"})

func TestStatusIsReplacedOnATerminalOnly(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out, true, xterm)
	for _, text := range []string{"one", "two", "three"} {
		if text == "three" {
			s.line("a line")
		}
		s.stated = time.Time{} // long ago
		s.status(text)
	}
	s.status("too soon")
	s.endStatus()
	if want := "one\r\x1b[Ktwo\r\x1b[Ka line\nthree\r\x1b[K"; out.String() != want {
		t.Errorf("terminal: %q, want %q", out.String(), want)
	}
	out.Reset()
	s = newScreen(&out, false, env(nil))
	for range 10 {
		s.status("status")
	}
	s.line("a line")
	s.endStatus()
	if want := "status\na line\n"; out.String() != want {
		t.Errorf("file: %q, want %q", out.String(), want)
	}
}

func TestColoursNeedATerminalThatHasThemAndNoWordAgainst(t *testing.T) {
	for _, c := range []struct {
		terminal bool
		env      map[string]string
		want     string
	}{
		{true, map[string]string{"TERM": "xterm"}, "\x1b[1mtext\x1b[0m"},
		{true, map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, "text"},
		{true, map[string]string{"TERM": "dumb"}, "text"},
		{false, nil, "text"},
	} {
		if got := newScreen(nil, c.terminal, env(c.env)).paint(bold, "text"); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestFiguresAreShort(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := number(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	for d, want := range map[time.Duration]string{0: "-", 1234: "1µs", 1234567: "1.23ms", 45678901: "46ms", 7812345678: "7.81s"} {
		if got := short(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestBoardFits80ColumnsAtTheBusiest(t *testing.T) {
	var out bytes.Buffer
	b := newBoard(newScreen(&out, false, env(nil)))
	b.start = time.Now().Add(-599 * time.Second)
	b.phase("warm-up")
	b.conns = map[string]int{"enclave-a": 32, "enclave-b": 32, "enclave-c": 32}
	for _, id := range enclaveIDs {
		b.interval(id, load.Interval{End: time.Second, Totals: load.Totals{Succeeded: 99_999, Latency: load.Latency{P99: 9876 * time.Microsecond}}})
	}
	if line := strings.TrimSuffix(out.String(), "\n"); line == "" || len(line) > 79 {
		t.Errorf("%d columns: %q", len(line), line)
	}
}
