package envconfig

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/enclavepool/enclavepool/pool"
)

// FromEnviron is Load with this process's environment and no file.
func FromEnviron() (pool.Config, error) { return Load(os.Environ(), "") }

// FromFile is Load with this process's environment and the file at path.
func FromFile(path string) (pool.Config, error) { return Load(os.Environ(), path) }

// Load makes a Config of environ, which is "NAME=value" as from os.Environ, and
// of the file at path, whose values win: a mounted file can change while the
// process runs, its environment cannot. An empty path is no file. What is set
// nowhere, or to nothing, is as in pool.DefaultConfig; a name that the file
// sets to nothing is so whatever environ says.
//
// A regular file has a line NAME=value for each variable; blank lines, comments
// from a # on, an "export " in front, and quotes around a value do not count.
// A directory has a file for each variable, as when Kubernetes mounts a
// ConfigMap. Names that are no setting's are others' and ignored, unless they
// begin with SIGN_CONN_POOL_ or are a slip away from a setting's.
//
// The error joins all that is wrong, an *Error each; if the file cannot be read
// it is the file system's. The Config is valid when there is none.
func Load(environ []string, path string) (pool.Config, error) {
	s, err := read(path)
	if err != nil {
		return pool.Config{}, err
	}
	return s.load(environ)
}

// assignment is a variable and its value as a source has it.
type assignment struct{ name, value, where string }

// loader is a Config in the making.
type loader struct {
	cfg      pool.Config
	set      map[string]assignment
	broken   map[string]bool // variables whose value cannot be read
	problems []error
}

// load makes a Config of environ and of what the file had.
func (s snapshot) load(environ []string) (pool.Config, error) {
	l := &loader{cfg: pool.DefaultConfig(), set: map[string]assignment{}, broken: map[string]bool{}}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok {
			l.take(assignment{name, value, "environment"})
		}
	}
	l.problems = append(l.problems, s.problems...)
	for _, a := range s.assignments {
		l.take(a)
	}
	for _, v := range variables {
		a, ok := l.set[v.name]
		if !ok || a.value == "" {
			continue
		}
		if want := v.put(&l.cfg, a.value); want != "" {
			l.broken[v.name] = true
			l.problems = append(l.problems, &Error{Name: a.name, Value: a.value, Where: a.where, Want: want})
		}
	}
	if a := l.set[enclavesName]; a.value != "" {
		var problems []*Error
		l.cfg.Enclaves, problems = parseEnclaves(a.value)
		for _, p := range problems {
			l.broken[enclavesName] = true
			p.Where = a.where
			l.problems = append(l.problems, p)
		}
	}
	l.judge()
	if len(l.problems) > 0 {
		return pool.Config{}, errors.Join(l.problems...)
	}
	return l.cfg, nil
}

// take notes what a source sets; a later source wins.
func (l *loader) take(a assignment) {
	a.value = strings.TrimSpace(a.value)
	if isVariable(a.name) {
		l.set[a.name] = a
		return
	}
	if closest, stray := strayName(a.name); stray {
		l.problems = append(l.problems, &Error{Name: a.name, Value: a.value, Where: a.where,
			Want: fmt.Sprintf("a name that is known; the nearest is %s", closest)})
	}
}

func isVariable(name string) bool {
	if name == enclavesName {
		return true
	}
	for _, v := range variables {
		if v.name == name {
			return true
		}
	}
	return false
}
