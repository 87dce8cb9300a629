// Package field reports bad settings: every one of them at once, each with its
// name, its value and what would be valid.
//
// It knows no setting itself; the package that owns a setting checks it.
//
// Start with Checks.
package field

import (
	"errors"
	"fmt"
)

// Error says which setting is wrong, and what would be right.
type Error struct {
	Field string // e.g. "Reconnect.Jitter" or "Enclaves[2].Target"
	Value any
	Want  string
}

func (e *Error) Error() string {
	if s, ok := e.Value.(string); ok {
		return fmt.Sprintf("%s is %q, want %s", e.Field, s, e.Want)
	}
	return fmt.Sprintf("%s is %v, want %s", e.Field, e.Value, e.Want)
}

// Checks collects the errors of one set of settings. The zero value is empty.
type Checks struct{ errs []error }

// That reports the setting unless ok.
func (c *Checks) That(ok bool, field string, value any, want string) {
	if !ok {
		c.errs = append(c.errs, &Error{Field: field, Value: value, Want: want})
	}
}

// Under adds what another package found, with prefix before its field names.
// err is nil, an *Error, or several of them joined.
func (c *Checks) Under(prefix string, err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			c.Under(prefix, e)
		}
		return
	}
	var f *Error
	if errors.As(err, &f) {
		err = &Error{Field: prefix + f.Field, Value: f.Value, Want: f.Want}
	}
	c.errs = append(c.errs, err)
}

// All returns the errors in the order they were found.
func (c *Checks) All() []error { return c.errs }

// Err returns errors.Join of them all, nil when there are none.
func (c *Checks) Err() error { return errors.Join(c.errs...) }
