package field_test

import (
	"errors"
	"testing"

	"github.com/enclavepool/enclavepool/internal/field"
)

func TestProblemsAreCollectedInOrderWithTheirPrefix(t *testing.T) {
	var inner, c field.Checks
	inner.That(false, "Max", 3, "at least 4")
	inner.That(true, "Min", 3, "never shown")
	inner.That(false, "Name", "", "a name")
	c.That(false, "First", -1, "0 or more")
	c.Under("Inner.", inner.Err())
	c.Under("Inner.", nil)

	want := "First is -1, want 0 or more\nInner.Max is 3, want at least 4\nInner.Name is \"\", want a name"
	if err := c.Err(); err == nil || err.Error() != want {
		t.Errorf("Err = %v, want %v", err, want)
	}
	var f *field.Error
	if !errors.As(c.All()[1], &f) || f.Field != "Inner.Max" || f.Value != 3 {
		t.Errorf("second problem = %+v", f)
	}
	if err := new(field.Checks).Err(); err != nil {
		t.Errorf("no problem, but Err = %v", err)
	}
}
