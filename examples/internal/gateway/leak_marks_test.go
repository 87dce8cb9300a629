package gateway

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// mark is something that must not be found where it does not belong.
type mark struct {
	name string
	data []byte
}

// marked makes a mark of text that no URL, JSON or quotation leaves as it is.
func marked(name string) mark {
	return mark{name, []byte("mark:" + name + "/" + rand.Text() + `+="`)}
}

// spellings are the ways in which bytes may stand in text.
func (m mark) spellings() map[string]string {
	b := m.data
	quoted, _ := json.Marshal(string(b))
	out := map[string]string{
		"raw":            string(b),
		"hex":            hex.EncodeToString(b),
		"HEX":            strings.ToUpper(hex.EncodeToString(b)),
		"query-escaped":  url.QueryEscape(string(b)),
		"path-escaped":   url.PathEscape(string(b)),
		"quoted":         strings.Trim(fmt.Sprintf("%q", b), `"`),
		"quoted twice":   strings.Trim(fmt.Sprintf("%q", fmt.Sprintf("%q", b)), `"\`),
		"JSON":           strings.Trim(string(quoted), `"`),
		"numbers":        strings.Trim(fmt.Sprint(b), "[]"),
		"JSON numbers":   strings.ReplaceAll(strings.Trim(fmt.Sprint(b), "[]"), " ", ","),
		"hex with 0x":    strings.Trim(fmt.Sprintf("%#v", b), "[]byte{}"),
		"hex with space": fmt.Sprintf("% x", b),
	}
	// Base64 of text that has the mark somewhere inside: whole groups, for each of the three places it may begin at.
	for shift := range 3 {
		inner := b[shift:]
		inner = inner[:len(inner)/3*3]
		out[fmt.Sprintf("base64, shifted by %d", shift)] = base64.StdEncoding.EncodeToString(inner)
		out[fmt.Sprintf("base64 of URLs, shifted by %d", shift)] = base64.URLEncoding.EncodeToString(inner)
	}
	return out
}

// findings says where the marks stand in text.
func findings(text string, marks []mark) []string {
	var out []string
	for _, m := range marks {
		for how, spelling := range m.spellings() {
			if i := strings.Index(text, spelling); i >= 0 {
				out = append(out, fmt.Sprintf("%s (%s): …%s…", m.name, how, text[max(0, i-80):min(len(text), i+len(spelling)+20)]))
			}
		}
	}
	return out
}

// sink is where text is collected. It is safe for concurrent use.
type sink struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func TestMarksAreFoundInEverySpelling(t *testing.T) {
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	for _, m := range []mark{marked("text"), {"bytes", random}} {
		for how, spelling := range m.spellings() {
			if got := findings("before "+spelling+" behind", []mark{m}); len(got) == 0 {
				t.Errorf("%s, %s: not found", m.name, how)
			}
		}
		for pad := range 3 {
			text := base64.StdEncoding.EncodeToString(append(bytes.Repeat([]byte("x"), pad), append(m.data, "behind"...)...))
			if got := findings(text, []mark{m}); len(got) == 0 {
				t.Errorf("%s behind %d bytes in base64: not found", m.name, pad)
			}
		}
		if got := findings("nothing here, "+hex.EncodeToString([]byte("mark:text/")), []mark{m}); len(got) > 0 {
			t.Errorf("found %q", got)
		}
	}
}
