package main

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDirectoryIsSetByFlagOrEnvironment(t *testing.T) {
	enclaves := envEnclaves + "=a=unix:/a"
	for _, c := range []struct {
		args    []string
		environ string
		file    string
		shared  bool
	}{
		{nil, "memory", "", false},
		{nil, "bolt:/e.db", "/e.db", false},
		{[]string{"-directory", "bolt:/f.db"}, "bolt:/e.db", "/f.db", false},
		{[]string{"-directory", "etcd:a:1"}, "", "", true},
	} {
		s, err := parse(c.args, []string{enclaves, envDirectory + "=" + c.environ}, io.Discard)
		if err != nil || s.directory == nil || s.directory.File != c.file || s.directory.Shared() != c.shared {
			t.Errorf("%q, %q: %+v, %v", c.args, c.environ, s.directory, err)
		}
	}
	s, err := parse([]string{"-routing", "strict"}, []string{enclaves, envDirectory + "=etcd:a:1"}, io.Discard)
	if err != nil || s.directory != nil {
		t.Errorf("strict: %+v, %v", s.directory, err)
	}
}

func TestBadDirectorySettingsAreReported(t *testing.T) {
	enclaves := envEnclaves + "=a=unix:/a"
	for want, args := range map[string][]string{
		`-directory: "postgres:x" is not valid: want memory, bolt:FILE or etcd:ENDPOINT`: {"-directory", "postgres:x"},
		`SIGNER_DIRECTORY: "bolt:" is not valid`:                                         nil,
		`-directory-cache: "none" is not valid: want a number from 1 to 134217728`:       {"-directory", "memory", "-directory-cache", "none"},
		`-etcd-ca, -etcd-cert, -etcd-key: `:                                              {"-directory", "etcd:a:1", "-etcd-ca", "/nowhere"},
		`-directory is given, and -routing is "strict": want -routing placed with it`:    {"-directory", "memory", "-routing", "strict"},
	} {
		var out, log bytes.Buffer
		code := run(context.Background(), args, []string{enclaves, envDirectory + "=bolt:"}, &out, &log)
		if code != 2 || !strings.Contains(log.String(), want) {
			t.Errorf("%q: exit code %d: %s; want %s", args, code, log.String(), want)
		}
	}
}

func TestDirectoryThatCannotBeOpenedEndsTheGateway(t *testing.T) {
	dir := t.TempDir()
	var out, log bytes.Buffer
	args := []string{"-listen", "unix:" + filepath.Join(dir, "g"), "-http", "unix:" + filepath.Join(dir, "h"),
		"-directory", "bolt:" + filepath.Join(dir, "missing", "places.db")}
	if code := run(context.Background(), args, env(envEnclaves, "a=unix:/a"), &out, &log); code != 1 || !strings.Contains(log.String(), "missing") {
		t.Errorf("exit code %d: %s", code, log.String())
	}
	if !slices.Contains(strings.Fields(help), envDirectory) {
		t.Error("the help does not name the variable")
	}
}
