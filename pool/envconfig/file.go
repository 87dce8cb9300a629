package envconfig

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// maxFileSize is that of a whole ConfigMap.
const maxFileSize = 1 << 20

// snapshot is what a file, or a directory, said at one time.
type snapshot struct {
	raw         string // equal when nothing has changed
	assignments []assignment
	problems    []error
}

// read reads path, and nothing when it is empty.
func read(path string) (snapshot, error) {
	if path == "" {
		return snapshot{}, nil
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return snapshot{}, err
	case info.IsDir():
		return readDir(path)
	}
	text, err := readFile(path)
	if err != nil {
		return snapshot{}, err
	}
	return parseFile(path, text), nil
}

// readFile reads a regular file: opening a FIFO could wait for ever.
func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it is neither a regular file nor a directory (%v)", info.Mode().Type())}
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err == nil && len(text) > maxFileSize {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it has more than %d bytes", maxFileSize)}
	}
	return string(text), err
}

// readDir reads a directory with a file for each variable. Those whose names
// are nobody's here are not opened.
func readDir(path string) (snapshot, error) {
	dir := path
	// Kubernetes' files lead through the link ..data, which is exchanged as a
	// whole. Followed once, all values are of the same generation.
	data, err := filepath.EvalSymlinks(filepath.Join(path, "..data"))
	switch {
	case err == nil:
		dir = data
	case !errors.Is(err, fs.ErrNotExist):
		return snapshot{}, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return snapshot{}, err
	}
	var s snapshot
	var raw strings.Builder
	for _, entry := range entries {
		name := entry.Name()
		if _, stray := strayName(name); !stray && !isVariable(name) {
			continue
		}
		value, err := readFile(filepath.Join(dir, name))
		if err != nil {
			return snapshot{}, err
		}
		fmt.Fprintf(&raw, "%q=%q\n", name, value)
		s.assignments = append(s.assignments, assignment{name, value, filepath.Join(path, name)})
	}
	s.raw = raw.String()
	return s, nil
}

// nameForm is what a variable, or the key of a ConfigMap, may be called.
var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// parseFile reads lines of NAME=value.
func parseFile(path, text string) snapshot {
	s := snapshot{raw: text}
	lineOf := map[string]int{}
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		where := path + ":" + strconv.Itoa(number)
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "export "); ok {
			line = strings.TrimSpace(rest)
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || !nameForm.MatchString(name) {
			s.problems = append(s.problems, &Error{Name: where, Want: "NAME=value without a space before the =, a comment that begins with #, or nothing"})
			continue
		}
		value, ok = unquote(value)
		if !ok {
			s.problems = append(s.problems, &Error{Name: name, Where: where, Want: "a value that ends with the quote it begins with, on the same line"})
			continue
		}
		if first, again := lineOf[name]; again && isVariable(name) {
			s.problems = append(s.problems, &Error{Name: name, Value: value, Where: where, Want: fmt.Sprintf("one value: line %d has another", first)})
			continue
		}
		lineOf[name] = number
		s.assignments = append(s.assignments, assignment{name, value, where})
	}
	return s
}

// unquote takes off quotes and the comment behind a value. Nothing is expanded
// or escaped: a value is what it looks like.
func unquote(text string) (value string, ok bool) {
	value = strings.TrimSpace(text)
	if value != "" && (value[0] == '"' || value[0] == '\'') {
		inner, rest, closed := strings.Cut(value[1:], value[:1])
		rest = strings.TrimSpace(rest)
		return inner, closed && (rest == "" || rest[0] == '#')
	}
	for i := 1; i < len(text); i++ {
		if text[i] == '#' && (text[i-1] == ' ' || text[i-1] == '\t') {
			return strings.TrimSpace(text[:i]), true
		}
	}
	return value, true
}
