package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"
)

// How often a status is printed where it replaces the one before, and where it cannot.
const (
	inPlaceEvery = 200 * time.Millisecond
	asLineEvery  = 2 * time.Second
)

// screen prints lines that stay and one status that is replaced in place; where nobody watches, the status is a line
// now and then. It is safe for concurrent use.
type screen struct {
	inPlace, color bool

	mu     sync.Mutex
	w      io.Writer
	open   bool // the status is on the last line
	stated time.Time
}

func newScreen(w io.Writer, terminal bool, getenv func(string) string) *screen {
	term := getenv("TERM")
	capable := terminal && term != "dumb" && (term != "" || runtime.GOOS == "windows")
	return &screen{w: w, inPlace: capable, color: capable && getenv("NO_COLOR") == ""}
}

// line prints a line that stays.
func (s *screen) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	fmt.Fprintln(s.w, text)
}

// status shows how things are now.
func (s *screen) status(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	every := asLineEvery
	if s.inPlace {
		every = inPlaceEvery
	}
	if time.Since(s.stated) < every {
		return
	}
	s.stated = time.Now()
	if !s.inPlace {
		fmt.Fprintln(s.w, text)
		return
	}
	s.clear()
	fmt.Fprint(s.w, text)
	s.open = true
}

// endStatus takes the status away.
func (s *screen) endStatus() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
}

// clear empties the last line if the status is on it. Its callers hold mu.
func (s *screen) clear() {
	if s.open {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.open = false
	}
}

// The styles, as SGR parameters.
const (
	bold  = "1"
	green = "1;32"
	red   = "1;31"
)

// paint puts text in a style, if there are styles here.
func (s *screen) paint(style, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// isTerminal reports whether somebody watches the file. A device that is none, such as /dev/null, does not mind the
// control characters.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// number is n with commas between thousands.
func number(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// short is a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}
