package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/enclavepool/enclavepool/examples/internal/command"
)

func TestBadFlagsAreNamed(t *testing.T) {
	for _, args := range [][]string{
		{"-duration", "1ms"}, {"-callers", "0"}, {"-only", "tornado"}, {"-transport", "pigeon"}, {"extra"}, {"-nonsense"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != command.BadFlags {
			t.Errorf("%v: exit %d, want %d", args, code, command.BadFlags)
		}
		if want := strings.TrimLeft(args[len(args)-1], "-"); !strings.Contains(errs.String(), want) {
			t.Errorf("%v: %q does not name %s", args, errs.String(), want)
		}
	}
}

func TestHelpIsNotAnError(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-help"}, &out, &errs); code != command.Fine || !strings.Contains(out.String(), "-duration") {
		t.Errorf("exit %d, %q", code, out.String())
	}
}
