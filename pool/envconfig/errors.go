package envconfig

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/enclavepool/enclavepool/pool"
)

// Error is one thing that is wrong with a setting. errors.Is finds
// pool.ErrConfig in it.
type Error struct {
	// Name is the variable; for a line that sets none, the file and the line.
	Name string
	// Part says which part of the value is meant, such as `enclave "b" min`;
	// empty: all of it.
	Part string
	// Value is what it is. A line that cannot be read is not repeated, since it
	// may be anybody's.
	Value string
	// Where is what set it: "environment", a file with the line, "the default";
	// empty: nothing did.
	Where string
	// Want is what would be valid.
	Want string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Name)
	if e.Part != "" {
		b.WriteString(" " + e.Part)
	}
	if e.Value != "" {
		b.WriteString(" is " + strconv.Quote(e.Value))
	}
	if e.Where != "" {
		b.WriteString(" (" + e.Where + ")")
	}
	if e.Value != "" {
		return b.String() + ", want " + e.Want
	}
	return b.String() + ": want " + e.Want
}

// Unwrap returns pool.ErrConfig.
func (e *Error) Unwrap() error { return pool.ErrConfig }

// word is a Go field's name, in what a pool.FieldError wants.
var word = regexp.MustCompile(`\b[A-Z][A-Za-z]+\b`)

// judge has the pool validate what was read, and reports what it finds under
// the names that were used.
func (l *loader) judge() {
	for _, err := range unjoin(l.cfg.Validate()) {
		var f *pool.FieldError
		switch {
		case !errors.As(err, &f):
			l.problems = append(l.problems, err)
		case f.Field == "Enclaves" || strings.HasPrefix(f.Field, "Enclaves["):
			l.judgeEnclave(f)
		default:
			l.judgeField(f)
		}
	}
}

func (l *loader) judgeField(f *pool.FieldError) {
	names := map[string]string{}
	for _, v := range variables {
		names[v.field] = v.name
	}
	name, known := names[f.Field]
	if !known { // a field without a variable, which a test finds
		name = f.Field
	}
	group, _, grouped := strings.Cut(f.Field, ".")
	if grouped {
		group += "."
	} else {
		group = ""
	}
	consequence := false
	want := word.ReplaceAllStringFunc(f.Want, func(w string) string {
		other, ok := names[group+w]
		if !ok {
			return w
		}
		consequence = consequence || l.broken[other]
		return other
	})
	if consequence {
		return // of a value that could not be read, and that is reported
	}
	e := &Error{Name: name, Value: fmt.Sprint(f.Value), Where: "the default", Want: want}
	if set, ok := l.set[name]; ok && set.value != "" {
		e.Value, e.Where = set.value, set.where
	}
	l.problems = append(l.problems, e)
}

// enclaveParts are the fields of pool.Enclave as SIGNER_ENCLAVES has them.
var enclaveParts = map[string]string{
	"ID": "ID", "Target": "target", "MinConns": "min", "MaxConns": "max", "Weight": "weight", "Authority": "authority",
}

func (l *loader) judgeEnclave(f *pool.FieldError) {
	set := l.set[enclavesName]
	if f.Field == "Enclaves" {
		if !l.broken[enclavesName] { // else there are some, and they cannot be read
			l.problems = append(l.problems, &Error{Name: enclavesName, Where: set.where,
				Want: "at least one enclave, such as a=vsock:16:5000"})
		}
		return
	}
	var i int
	var field string
	if _, err := fmt.Sscanf(f.Field, "Enclaves[%d].%s", &i, &field); err != nil || i >= len(l.cfg.Enclaves) {
		l.problems = append(l.problems, f)
		return
	}
	// 0 is how a Config says that the value is not set, and the number in the
	// list is one that nobody sees.
	want, _, _ := strings.Cut(f.Want, " (Enclaves[")
	want = strings.NewReplacer("0 (the pool's)", "1", "0 (for 1)", "1", "MinConns", "min").Replace(want)
	l.problems = append(l.problems, &Error{
		Name: enclavesName, Part: fmt.Sprintf("enclave %q %s", l.cfg.Enclaves[i].ID, enclaveParts[field]),
		Value: fmt.Sprint(f.Value), Where: set.where, Want: want,
	})
}

// unjoin returns what errors.Join has joined.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
