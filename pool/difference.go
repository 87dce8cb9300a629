package pool

import (
	"fmt"
	"reflect"
	"strings"
)

// difference says in words what is different about next, a line for each
// setting, the enclaves by their IDs.
func difference(before, next Config) string {
	lines := fieldsThatDiffer("", reflect.ValueOf(before), reflect.ValueOf(next))
	had := map[string]Enclave{}
	for _, e := range before.Enclaves {
		had[e.ID] = e
	}
	for _, e := range next.Enclaves {
		if old, ok := had[e.ID]; ok {
			lines = append(lines, fieldsThatDiffer("enclave "+e.ID+" ", reflect.ValueOf(old), reflect.ValueOf(e))...)
		} else {
			lines = append(lines, fmt.Sprintf("enclave %s added at %s", e.ID, e.Target))
		}
		delete(had, e.ID)
	}
	for _, e := range before.Enclaves {
		if _, gone := had[e.ID]; gone {
			lines = append(lines, "enclave "+e.ID+" removed")
		}
	}
	if len(lines) == 0 {
		return "none"
	}
	return strings.Join(lines, "; ")
}

// fieldsThatDiffer compares two structs of the same type, slices in them left
// out.
func fieldsThatDiffer(prefix string, a, b reflect.Value) (lines []string) {
	for i := range a.NumField() {
		x, y, name := a.Field(i), b.Field(i), prefix+a.Type().Field(i).Name
		switch {
		case x.Kind() == reflect.Slice:
		case x.Kind() == reflect.Struct:
			lines = append(lines, fieldsThatDiffer(name+".", x, y)...)
		case !x.Equal(y):
			lines = append(lines, fmt.Sprintf("%s: %v → %v", name, x, y))
		}
	}
	return lines
}
