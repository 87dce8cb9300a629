package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-kills", "0"}, {"-kills", "many"}, {"-unknown"}, {"extra"}} {
		var out, log bytes.Buffer
		if code := run(context.Background(), args, &out, &log); code != 2 || !strings.Contains(log.String(), "placementkills:") {
			t.Errorf("%q: exit code %d: %s", args, code, log.String())
		}
	}
	var out, log bytes.Buffer
	if code := run(context.Background(), []string{"-help"}, &out, &log); code != 0 || !strings.Contains(out.String(), "-kills") {
		t.Errorf("-help: exit code %d: %s", code, out.String())
	}
}
