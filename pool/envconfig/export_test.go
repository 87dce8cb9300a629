package envconfig

import (
	"reflect"
	"strings"

	"github.com/enclavepool/enclavepool/pool"
)

// OtherValues has a valid value for each variable that is not its default.
func OtherValues() map[string]string {
	values := map[string]string{}
	for name, row := range table {
		values[prefix+name] = row.other
	}
	return values
}

// Fields are the fields of the variables.
func Fields() map[string]string {
	fields := map[string]string{}
	for _, v := range variables {
		fields[v.name] = v.field
	}
	return fields
}

// DefaultIs tells whether text is the variable's default.
func DefaultIs(name, text string) bool {
	for _, v := range variables {
		if v.name == name {
			cfg, err := Load([]string{enclavesName + "=a=vsock:16:5000", name + "=" + text}, "")
			without, _ := Load([]string{enclavesName + "=a=vsock:16:5000"}, "")
			return err == nil && strings.TrimSpace(text) != "" && valueOf(v, &cfg) == valueOf(v, &without)
		}
	}
	return false
}

func valueOf(v variable, cfg *pool.Config) any { return reflect.ValueOf(v.at(cfg)).Elem().Interface() }
