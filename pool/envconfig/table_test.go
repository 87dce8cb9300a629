package envconfig

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// row is what the tests know of a variable.
type row struct {
	good map[string]any // text and what it is read as, the bounds of its range among them
	bad  []string       // the nearest beyond the bounds, and what is not of its type
	// other differs from the default, and can be applied to a pool of two
	// connections that is running.
	other string
}

// table has a row for each variable; a test fails when one has none.
var table = map[string]row{
	"MIN":                    {good: map[string]any{"1": 1, "32": 32, " 8\n": 8}, bad: []string{"0", "-1", "1025", "x", "1.5", "16 conns"}, other: "1"},
	"MAX":                    {good: map[string]any{"16": 16, "1024": 1024}, bad: []string{"15", "1025", "off", "99999999999999999999"}, other: "3"},
	"MAX_CONCURRENT_STREAMS": {good: map[string]any{"1": 1, "65535": 65535}, bad: []string{"0", "65536"}, other: "7"},
	"MAX_WAITERS":            {good: map[string]any{"0": 0, "9000": 9000}, bad: []string{"-1", "many"}, other: "5"},
	"ACQUIRE_TIMEOUT":        {good: map[string]any{"0": 0 * time.Second, "off": 0 * time.Second, "250ms": 250 * time.Millisecond}, bad: []string{"-1ns", "5", "Off"}, other: "1s"},
	"REQUEST_TIMEOUT":        {good: map[string]any{"0": 0 * time.Second, "off": 0 * time.Second, "1m30s": 90 * time.Second}, bad: []string{"-1s", "5", "5 s"}, other: "6s"},
	"DIAL_TIMEOUT":           {good: map[string]any{"1ms": time.Millisecond, "2s": 2 * time.Second}, bad: []string{"0", "999us", "off"}, other: "3s"},
	"MAX_CONN_AGE":           {good: map[string]any{"0s": 0 * time.Second, "off": 0 * time.Second, "1s": time.Second, "24h": 24 * time.Hour}, bad: []string{"999ms", "-1s", "1d"}, other: "24h"},
	"KEEPALIVE_TIME":         {good: map[string]any{"0": 0 * time.Second, "off": 0 * time.Second, "10s": 10 * time.Second}, bad: []string{"9.9s", "-1s", "30", "false"}, other: "off"},
	"KEEPALIVE_TIMEOUT":      {good: map[string]any{"1ns": time.Nanosecond, "20s": 20 * time.Second}, bad: []string{"0", "-1s", "off"}, other: "11s"},
	"KEEPALIVE_PERMIT_WITHOUT_STREAM": {good: map[string]any{"true": true, "false": false},
		bad: []string{"1", "0", "yes", "no", "True", "FALSE", "t", "on", "off"}, other: "false"},
	"BACKOFF_INITIAL":          {good: map[string]any{"1ms": time.Millisecond, "200ms": 200 * time.Millisecond}, bad: []string{"0", "999us", "201ms", "25"}, other: "30ms"},
	"BACKOFF_MAX":              {good: map[string]any{"25ms": 25 * time.Millisecond, "1m": time.Minute}, bad: []string{"24ms", "0", "-1s"}, other: "300ms"},
	"BACKOFF_MULTIPLIER":       {good: map[string]any{"1": 1.0, "1.5": 1.5, "100": 100.0}, bad: []string{"0.99", "100.1", "NaN", "Inf", "2x"}, other: "3"},
	"BACKOFF_JITTER":           {good: map[string]any{"0": 0.0, "0.999": 0.999}, bad: []string{"1", "-0.1", "NaN", "20%"}, other: "0.1"},
	"BACKOFF_BUDGET":           {good: map[string]any{"0": 0 * time.Second, "1s": time.Second}, bad: []string{"-1ns", "off"}, other: "1s"},
	"HEALTH_INTERVAL":          {good: map[string]any{"10ms": 10 * time.Millisecond, "5s": 5 * time.Second}, bad: []string{"9ms", "0"}, other: "2s"},
	"HEALTH_TIMEOUT":           {good: map[string]any{"1ms": time.Millisecond, "1s": time.Second}, bad: []string{"0", "999us"}, other: "60ms"},
	"HEALTH_FAILURE_THRESHOLD": {good: map[string]any{"1": 1, "5": 5}, bad: []string{"0", "-3", "3.0"}, other: "4"},
	"HEALTH_COOLDOWN":          {good: map[string]any{"0": 0 * time.Second, "10s": 10 * time.Second}, bad: []string{"-1s", "1"}, other: "2s"},
	"HEALTH_DISABLED":          {good: map[string]any{"true": true, "false": false}, bad: []string{"1", "yes", "TRUE"}, other: "true"},
}

// leaves returns every setting of a struct by its path, as a FieldError names
// it, and nil for what no variable can be.
func leaves(prefix string, v reflect.Value, to map[string]any) {
	for i := range v.NumField() {
		f, name := v.Field(i), prefix+v.Type().Field(i).Name
		switch f.Kind() {
		case reflect.Struct:
			leaves(name+".", f, to)
		case reflect.Slice, reflect.Map, reflect.Func, reflect.Interface, reflect.Pointer:
			to[name] = nil
		default:
			to[name] = f.Addr().Interface()
		}
	}
}

func TestEverySettingOfAPoolHasAVariableAndATestRow(t *testing.T) {
	var cfg pool.Config
	fields := map[string]any{}
	leaves("", reflect.ValueOf(&cfg).Elem(), fields)
	delete(fields, "Enclaves") // SIGNER_ENCLAVES
	seen := map[string]bool{}
	for _, v := range variables {
		if want, ok := fields[v.field]; !ok || v.at(&cfg) != want {
			t.Errorf("%s is not at the field %s of pool.Config", v.name, v.field)
		}
		if seen[v.name] {
			t.Errorf("%s is there twice", v.name)
		}
		seen[v.name] = true
		delete(fields, v.field)
		if _, ok := table[strings.TrimPrefix(v.name, prefix)]; !ok {
			t.Errorf("%s has no row in the table", v.name)
		}
	}
	for f := range fields {
		t.Errorf("pool.Config has a field %s without a variable", f)
	}
	if len(table) != len(variables) {
		t.Errorf("%d rows for %d variables", len(table), len(variables))
	}

	for f := range reflect.TypeFor[pool.Enclave]().Fields() {
		if enclaveParts[f.Name] == "" {
			t.Errorf("pool.Enclave has a field %s that SIGNER_ENCLAVES has no part for", f.Name)
		}
	}
}

func one(name, value string) []string {
	return []string{"SIGNER_ENCLAVES=a=vsock:16:5000", name + "=" + value}
}

func TestEachVariableSetsItsFieldAndNoOther(t *testing.T) {
	for _, v := range variables {
		for text, want := range table[strings.TrimPrefix(v.name, prefix)].good {
			cfg, err := Load(one(v.name, text), "")
			if err != nil && v.field == "MinConns" || v.field == "MinConns" && text == "32" {
				cfg, err = Load(append(one(v.name, text), "SIGN_CONN_POOL_MAX=32"), "")
			}
			if err != nil {
				t.Errorf("%s=%q: %v", v.name, text, err)
				continue
			}
			if got := reflect.ValueOf(v.at(&cfg)).Elem().Interface(); got != want {
				t.Errorf("%s=%q made %s %v", v.name, text, v.field, got)
			}
			expected := pool.DefaultConfig()
			expected.Enclaves = []pool.Enclave{{ID: "a", Target: "vsock:16:5000"}}
			reflect.ValueOf(v.at(&expected)).Elem().Set(reflect.ValueOf(want))
			if !reflect.DeepEqual(cfg, expected) {
				t.Errorf("%s=%q made\n%+v, want\n%+v", v.name, text, cfg, expected)
			}
		}
		for _, text := range []string{"", "  "} {
			cfg, err := Load(one(v.name, text), "")
			d := pool.DefaultConfig()
			if err != nil || reflect.ValueOf(v.at(&cfg)).Elem().Interface() != reflect.ValueOf(v.at(&d)).Elem().Interface() {
				t.Errorf("%s=%q is not the default: %v", v.name, text, err)
			}
		}
	}
}

func TestABadValueIsReportedUnderItsVariable(t *testing.T) {
	for _, v := range variables {
		for _, text := range table[strings.TrimPrefix(v.name, prefix)].bad {
			_, err := Load(one(v.name, text), "")
			problems := unjoin(err)
			if len(problems) == 0 {
				t.Errorf("%s=%q is taken", v.name, text)
				continue
			}
			// The other of two that depend on each other may be named too.
			found := false
			for _, p := range problems {
				e, ok := p.(*Error)
				if !ok || e.Want == "" || strings.Contains(e.Error(), "Conns") {
					t.Errorf("%s=%q: %v", v.name, text, p)
					continue
				}
				found = found || e.Name == v.name && e.Value == text && e.Where == "environment" || strings.Contains(e.Want, v.name)
			}
			if !found {
				t.Errorf("%s=%q: %v", v.name, text, err)
			}
		}
	}
}

func TestAPointerOfATypeThatNobodyReadsIsAMistakeInTheTable(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	variable{at: func(*pool.Config) any { return new(uint8) }}.put(new(pool.Config), "1")
}

func TestNearestIsTheOneWithTheFewestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"MXA", "MAX", 1}, {"flaw", "lawn", 2}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
	for name, want := range map[string]string{
		"SIGN_CONN_POOL_MXA":                   "SIGN_CONN_POOL_MAX",
		"SIGN_CONN_POOL_MIN_":                  "SIGN_CONN_POOL_MIN",
		"sign_conn_pool_max_waiters":           "SIGN_CONN_POOL_MAX_WAITERS",
		"SIGN_CONN_POOL_KEEP_ALIVE_TIME":       "SIGN_CONN_POOL_KEEPALIVE_TIME",
		"SIGN_CONNPOOL_MAX":                    "SIGN_CONN_POOL_MAX",
		"SIGNER_ENCLAVE":                       "SIGNER_ENCLAVES",
		"SIGN_CONN_POOL_HEALTH_FAIL_THRESHOLD": "SIGN_CONN_POOL_HEALTH_FAILURE_THRESHOLD",
	} {
		if got, stray := strayName(name); got != want || !stray {
			t.Errorf("%s is nearest to %s (stray %v), want %s", name, got, stray, want)
		}
	}
	for _, name := range []string{"PATH", "SIGNER_ENCLAVE_ID", "SIGNER_CONFIG_FILE", "", strings.Repeat("x", math.MaxUint16)} {
		if closest, stray := strayName(name); stray {
			t.Errorf("%.20s is taken for %s", name, closest)
		}
	}
}
