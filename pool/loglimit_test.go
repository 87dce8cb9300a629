package pool

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheLogTakesABurstOfAKindAndNotOneLineMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := limitLog(slog.New(slog.NewTextHandler(&out, nil)), 16).With("enclave_id", "a")
		lines := func() int { return strings.Count(out.String(), "\n") }
		for range logBurst {
			log.Warn("connection lost")
		}
		if lines() != logBurst || strings.Contains(out.String(), suppressedKey) {
			t.Errorf("%d lines of a burst of %d", lines(), logBurst)
		}
		for range 7 {
			log.Warn("connection lost") // the first of these is one too many
		}
		if lines() != logBurst {
			t.Errorf("%d lines, want %d", lines(), logBurst)
		}
		out.Reset()
		log.Error("enclave lost", "conns", 0) // another kind, for the first time
		if got := out.String(); lines() != 1 || !strings.Contains(got, "enclave_id=a") || !strings.Contains(got, suppressedKey+"=7") {
			t.Errorf("the first line of another kind is %q", got)
		}
		out.Reset()
		for range 60 * 100 { // a minute
			log.Warn("connection lost")
			time.Sleep(10 * time.Millisecond)
		}
		if n := lines(); n < 60*logRate-1 || n > 60*logRate+1 {
			t.Errorf("%d lines in a minute, want %d a second", n, logRate)
		}
		if got := strings.Count(out.String(), suppressedKey+"=49"); got < 100 {
			t.Errorf("%d lines say how many were left out:\n%s", got, out.String())
		}
	})
}

func TestTheBurstOfTheLogHoldsAllConnectionsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := limitLog(slog.New(slog.NewTextHandler(&out, nil)), 1024)
		for range 2*1024 + 1 {
			log.Info("connection healthy")
		}
		if n := strings.Count(out.String(), "\n"); n != 2*1024 {
			t.Errorf("%d lines", n)
		}
	})
}

func TestALogBelowItsLevelUsesUpNothing(t *testing.T) {
	log := limitLog(slog.New(slog.NewTextHandler(io.Discard, nil)), 1)
	for range logBurst + 1 {
		log.Debug("connection attempt failed")
	}
	if n := log.Handler().(*limitedHandler).limit.omitted.Load(); n != 0 {
		t.Errorf("%d counted as suppressed", n)
	}
}
