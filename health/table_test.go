package health_test

import (
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/health"
)

// ending is how a probe ends, its circumstances included.
type ending struct {
	name   string
	result health.Result
	after  time.Duration
	bytes  bool // something was read meanwhile
	unread bool // something is there that was not read
}

var endings = []ending{
	{"serving", health.Serving, ms, true, false},
	{"unimplemented", health.Unimplemented, ms, true, false},
	{"not serving", health.NotServing, ms, true, false},
	{"failed", health.Failed, ms, true, false},
	{"timed out", health.TimedOut, 50 * ms, false, false},
	{"timed out, a little late", health.TimedOut, 75 * ms, false, false},
	{"timed out, late", health.TimedOut, 76 * ms, false, false},
	{"timed out, bytes came", health.TimedOut, 50 * ms, true, false},
	{"not sent", health.NotSent, 50 * ms, false, false},
	{"timed out, bytes unread", health.TimedOut, 50 * ms, false, true},
}

// situations lead a ward to where a probe is under way.
var situations = map[string]func(*ward){
	"in rotation": func(w *ward) { w.wait() },
	"two silences": func(w *ward) {
		for range 2 {
			w.wait()
			w.end(50*ms, health.TimedOut)
		}
		w.wait()
	},
	"two errors": func(w *ward) {
		for range 2 {
			w.wait()
			w.end(ms, health.Failed)
		}
		w.wait()
	},
	"an error and a silence": func(w *ward) {
		w.wait()
		w.end(ms, health.Failed)
		w.wait()
		w.end(50*ms, health.TimedOut)
		w.wait()
	},
	"suspended": func(w *ward) { // the cooldown has passed
		w.wait()
		w.end(ms, health.NotServing)
		w.wait()
	},
	"just suspended": func(w *ward) {
		w.wait()
		w.end(ms, health.NotServing)
		w.inFlight = 1
		w.wait()
	},
	"just restored": func(w *ward) {
		w.wait()
		w.end(ms, health.NotServing)
		w.wait()
		w.end(ms, health.Serving)
		w.inFlight = 1
		w.wait()
	},
}

// S, R and E stand for the verdicts; a point is Keep. In the order of endings.
var expectations = map[string]string{
	"in rotation":            "..S.......",
	"two silences":           "..S.EE....", // the error is an answer: nothing is left of the silence
	"two errors":             "..SEEE....",
	"an error and a silence": "..S.EE....",
	"suspended":              "RR........",
	"just suspended":         "..........",
	"just restored":          "..........",
}

func TestEveryResultInEverySituation(t *testing.T) {
	letters := map[health.Verdict]byte{health.Keep: '.', health.Suspend: 'S', health.Restore: 'R', health.Eject: 'E'}
	if len(expectations) != len(situations) {
		t.Fatalf("%d expectations for %d situations", len(expectations), len(situations))
	}
	for name, lead := range situations {
		want := expectations[name]
		if len(want) != len(endings) {
			t.Fatalf("%s: %d expectations for %d endings", name, len(want), len(endings))
		}
		for i, e := range endings {
			t.Run(name+"/"+e.name, func(t *testing.T) {
				w := newWard(t, health.DefaultPolicy())
				lead(w)
				if e.bytes {
					w.read = w.now.Add(ms / 2)
				}
				w.unread = e.unread
				if got := w.end(e.after, e.result); letters[got] != want[i] {
					t.Errorf("verdict %v, want %c", got, want[i])
				}
			})
		}
	}
}

// When the next probe is, after each ending, if the connection stays silent.
func TestTheNextProbeComesWhenTheResultCallsForIt(t *testing.T) {
	const soon, later = 0, time.Second
	for situation, want := range map[string][]time.Duration{
		// serving, unimplemented, not serving, failed, timed out, a little late, late, bytes came, not sent, unread
		"in rotation":  {later, later, later, later, soon, soon, soon, later - 50*ms + ms/2, soon, soon},
		"two errors":   {later, later, later, -1, -1, -1, soon, soon, soon, soon},
		"suspended":    {later, later, later, later, soon, soon, soon, soon, soon, soon},
		"two silences": {later, later, later, later, -1, -1, soon, later - 50*ms + ms/2, soon, soon},
	} {
		for i, e := range endings {
			t.Run(situation+"/"+e.name, func(t *testing.T) {
				w := newWard(t, health.DefaultPolicy())
				situations[situation](w)
				if e.bytes {
					w.read = w.now.Add(ms / 2)
				}
				w.unread = e.unread
				if v := w.end(e.after, e.result); v == health.Eject {
					if want[i] != -1 {
						t.Fatal("ejected")
					}
					return
				}
				if got := w.wait(); got != want[i] {
					t.Errorf("next probe after %v, want %v", got, want[i])
				}
			})
		}
	}
}
