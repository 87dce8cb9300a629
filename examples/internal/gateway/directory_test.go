package gateway

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDirectoryIsReadFromItsName(t *testing.T) {
	for text, want := range map[string]Directory{
		"memory":                          {},
		DefaultDirectory:                  {File: "gateway-placements.db"},
		"bolt:/a:b":                       {File: "/a:b"},
		"etcd:h:2379":                     {Endpoints: []string{"h:2379"}},
		"etcd:https://a:2379, http://b:1": {Endpoints: []string{"https://a:2379", "http://b:1"}},
	} {
		got, err := ParseDirectory(text)
		if err != nil || got.File != want.File || !slices.Equal(got.Endpoints, want.Endpoints) || got.Shared() != strings.HasPrefix(text, "etcd") {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "bolt", "bolt:", "etcd", "etcd:", "etcd:a", "etcd:a:1,", "etcd:ftp://a:1", "etcd:http://", "Memory", "memory:x", "a.db"} {
		if got, err := ParseDirectory(text); err == nil {
			t.Errorf("%q was taken: %+v", text, got)
		}
	}
}

func TestFileThatAnotherGatewayHasIsSaidToBeWithWhatToDo(t *testing.T) {
	d := Directory{File: filepath.Join(t.TempDir(), "places.db")}
	_, closing, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer closing()
	if _, _, err := d.Open(); err == nil || !strings.Contains(err.Error(), "etcd") || !strings.Contains(err.Error(), d.File) {
		t.Errorf("%v", err)
	}
}
