package health_test

import (
	"testing"
	"time"
	"unsafe"

	"github.com/enclavepool/enclavepool/health"
)

// step moves the wall clock of t and leaves its monotonic reading, which is
// what a step of the system's clock does to time.Now; package time offers no
// way to make such a time.
func step(t *testing.T, at time.Time, by time.Duration) time.Time {
	t.Helper()
	stepped := at
	wall := (*uint64)(unsafe.Pointer(&stepped)) // the flag, 33 bits of seconds, 30 bits of nanoseconds
	*wall += uint64(by/time.Second) << 30
	if stepped.Sub(at) != 0 || stepped.Unix()-at.Unix() != int64(by/time.Second) {
		t.Fatalf("package time has changed its layout: %v became %v", at, stepped)
	}
	return stepped
}

func TestAStepOfTheWallClockIsNotSeen(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		steady, stepped := newWard(t, health.DefaultPolicy()), newWard(t, health.DefaultPolicy())
		stepped.now = steady.now
		stepped.m, stepped.read = health.NewMonitor(stepped.p, steady.now), steady.now
		for i, r := range []health.Result{health.Serving, health.NotServing, health.Serving, health.TimedOut, health.Failed} {
			stepped.now = step(t, stepped.now, by)
			a, b := steady.wait(), stepped.wait()
			if a != b {
				t.Fatalf("stepped by %v: probe %d after %v, want %v", by, i, b, a)
			}
			stepped.now = step(t, stepped.now, by)
			if a, b := steady.end(2*ms, r), stepped.end(2*ms, r); a != b {
				t.Fatalf("stepped by %v: %v is %v, want %v", by, r, b, a)
			}
		}
	}
}
