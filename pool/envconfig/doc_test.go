package envconfig_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/envconfig"
)

const docPath = "../../docs/config/enclave-config.md"

// docRow is a setting as the documentation has it.
type docRow struct{ name, field, unit, byDefault, valid, reload string }

func docText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documented returns the rows of all tables of settings.
func documented(t *testing.T) (rows []docRow) {
	t.Helper()
	for line := range strings.Lines(docText(t)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 8 || strings.HasPrefix(cells[0], "---") {
			continue
		}
		for i, c := range cells {
			if cells[i] = strings.TrimSpace(c); cells[i] == "" {
				t.Errorf("an empty cell: %s", line)
			}
		}
		if name := strings.Trim(cells[0], "`"); name != cells[0] {
			rows = append(rows, docRow{name, strings.Trim(cells[1], "`"), cells[2], cells[3], cells[4], cells[5]})
		}
	}
	return rows
}

func TestTheDocumentationHasEveryVariableWithItsDefaultUnitAndRange(t *testing.T) {
	fields := envconfig.Fields()
	parts := map[string]bool{"SIGNER_ENCLAVES": false}
	for _, p := range []string{"ID", "target", "min", "max", "weight", "authority"} {
		parts[p] = false
	}
	for _, r := range documented(t) {
		if done, ok := parts[r.name]; ok {
			if done {
				t.Errorf("%s is there twice", r.name)
			}
			parts[r.name] = true
			continue
		}
		field, ok := fields[r.name]
		if !ok {
			t.Errorf("%s is no variable, or is there twice", r.name)
			continue
		}
		delete(fields, r.name)
		if r.field != field {
			t.Errorf("%s: field %s, want %s", r.name, r.field, field)
		}
		if !envconfig.DefaultIs(r.name, r.byDefault) {
			t.Errorf("%s: %s is not its default", r.name, r.byDefault)
		}
		if r.reload != "at once" && r.reload != "new connections" {
			t.Errorf("%s: reload %q", r.name, r.reload)
		}
		checkRange(t, r)
	}
	for name := range fields {
		t.Errorf("%s has no row in %s", name, docPath)
	}
	for name, done := range parts {
		if !done {
			t.Errorf("%s has no row in %s", name, docPath)
		}
	}
	for f := range reflect.TypeFor[pool.Enclave]().Fields() {
		if !strings.Contains(docText(t), "| `"+f.Name+"` |") {
			t.Errorf("Enclave.%s has no row in %s", f.Name, docPath)
		}
	}
}

// checkRange tries the ends of a range, and what is just beyond them.
func checkRange(t *testing.T, r docRow) {
	t.Helper()
	try := func(value string, want bool) {
		t.Helper()
		if _, err := envconfig.Load([]string{enclaveA, r.name + "=" + value}, ""); (err == nil) != want {
			t.Errorf("%s: the range is %q, and %s gives %v", r.name, r.valid, value, err)
		}
	}
	// The other end may be another variable's default.
	valid := regexp.MustCompile("`[A-Z_]+`").ReplaceAllStringFunc(r.valid, func(name string) string {
		for _, other := range documented(t) {
			if other.name == strings.Trim(name, "`") {
				return other.byDefault
			}
		}
		return name
	})
	rest, off := strings.CutPrefix(valid, "off, or ")
	if r.unit == "boolean" {
		if valid != "true, false" {
			t.Errorf("%s: a boolean with the range %q", r.name, valid)
		}
		return
	}
	try("off", off)
	least, atLeast := strings.CutPrefix(rest, "at least ")
	more, moreThan := strings.CutPrefix(rest, "more than ")
	from, to, fromTo := strings.Cut(rest, " to ")
	switch {
	case atLeast:
		try(least, true)
		if !off || least != "1ns" { // below that is off
			try(beside(t, r.unit, least, -1), false)
		}
		try(beside(t, r.unit, "0", -1), false)
	case moreThan:
		try(more, false)
		try(beside(t, r.unit, more, 1), true)
	case fromTo:
		below, isBelow := strings.CutPrefix(to, "below ")
		try(from, true)
		try(beside(t, r.unit, from, -1), false)
		if isBelow {
			try(below, false)
			try(beside(t, r.unit, below, -1), true)
		} else {
			try(to, true)
			try(beside(t, r.unit, to, 1), false)
		}
	default:
		t.Errorf("%s: the range %q cannot be checked", r.name, r.valid)
	}
}

// beside returns the value that is one step from another, up or down.
func beside(t *testing.T, unit, value string, steps int) string {
	t.Helper()
	var err error
	defer func() {
		if err != nil {
			t.Errorf("%q is no value of the unit %s: %v", value, unit, err)
		}
	}()
	switch unit {
	case "duration":
		var d time.Duration
		d, err = time.ParseDuration(value)
		return (d + time.Duration(steps)).String()
	case "factor", "share":
		var f float64
		f, err = strconv.ParseFloat(value, 64)
		return fmt.Sprint(f + 0.001*float64(steps))
	}
	var n int
	n, err = strconv.Atoi(value)
	return strconv.Itoa(n + steps)
}

var (
	mapBlock   = regexp.MustCompile("(?s)```yaml\n([^`]*kind: ConfigMap[^`]*)```")
	mapEntry   = regexp.MustCompile(`(?m)^  ([A-Z_]+): "(.*)"$`)
	plainBlock = regexp.MustCompile("(?s)```\n(SIGN[^`]*=[^`]*)```")
)

func TestTheExamplesInTheDocumentationAreValid(t *testing.T) {
	dir := t.TempDir()
	entries := mapEntry.FindAllStringSubmatch(mapBlock.FindStringSubmatch(docText(t))[1], -1)
	for _, e := range entries {
		write(t, filepath.Join(dir, e[1]), e[2])
	}
	cfg, err := envconfig.Load(nil, dir)
	if err != nil || len(entries) < 3 || cfg.MinConns != 24 || len(cfg.Enclaves) != 2 {
		t.Errorf("the ConfigMap: %+v, %v", cfg, err)
	}
	checked := 0
	for _, block := range plainBlock.FindAllStringSubmatch(docText(t), -1) {
		if strings.Contains(block[1], ", want ") {
			continue // problems, as they are reported
		}
		checked++
		if _, err := envconfig.Load([]string{enclaveA}, write(t, filepath.Join(t.TempDir(), "pool.env"), block[1])); err != nil {
			t.Errorf("%s: %v", block[1], err)
		}
	}
	if checked != 2 {
		t.Errorf("%d examples of lines, want that of SIGNER_ENCLAVES and that of short connections", checked)
	}
	_, err = envconfig.Load([]string{enclaveA, "SIGN_CONN_POOL_MXA=48", "SIGN_CONN_POOL_KEEPALIVE_TIME=5s"}, "")
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(strings.ReplaceAll(line, "(environment)", ""))
		if text := strings.NewReplacer("(/etc/signer/pool.env:3)", "", "(environment)", "").Replace(docText(t)); !strings.Contains(text, line) {
			t.Errorf("the documentation does not show %q", line)
		}
	}
}
