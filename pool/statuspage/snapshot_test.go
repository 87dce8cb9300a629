package statuspage_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
)

func TestThePictureSaysWhatStatsDoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		start := time.Now()
		f := newFake(map[string]pool.EnclaveStats{"a": {
			State: breaker.Degraded, Since: start, Cause: errLost, Cordoned: true,
			MinConns: 1, MaxConns: 2, Conns: 3, HealthyConns: 4, InFlight: 5, Capacity: 6, Waiters: 7, IdleStreams: 8,
			Acquires: 9, Exhausted: 10, Dials: 11, Reconnects: 12, StreamResets: 13, Ejections: 14,
			Connections: []pool.ConnStats{{
				Index: 15, State: breaker.Draining, InFlight: 16, Limit: 17, IdleStreams: 18, AdvertisedLimit: -1, OpenedAt: start, Cause: errLost,
			}},
		}})
		p := show(t, f)
		later(time.Second)
		got := read(t, p)
		if got.Title != "Enclave pool" || got.At != start.Add(time.Second).UnixMilli() || got.SampleMS != 2000 || got.Points != 150 {
			t.Errorf("%+v", got)
		}
		if want := []float64{0, 0.05, 0.1}; !slices.Equal(got.BoundsMS[:3], want) || len(got.BoundsMS) != len(pool.WaitBounds()) {
			t.Errorf("bounds %v", got.BoundsMS)
		}
		want := enclave{
			ID: "a", State: "degraded", Since: start.UnixMilli(), Cause: errLost.Error(), Cordoned: true,
			MinConns: 1, MaxConns: 2, HealthyConns: 4, InFlight: 5, Capacity: 6, Waiters: 7, IdleStreams: 8,
			Acquires: 9, Exhausted: 10, Dials: 11, Reconnects: 12, StreamResets: 13, Ejections: 14,
			Recent: map[string]uint64{"stream_resets": 0, "exhausted": 0, "reconnects": 0, "ejections": 0},
			Wait:   wait{P50: []int{-1}, P99: []int{-1}}, Events: []event{},
			Connections: []connection{{
				Index: 15, State: "draining", InFlight: 16, Limit: 17, IdleStreams: 18, Advertised: -1, Opened: start.UnixMilli(), Cause: errLost.Error(),
			}},
		}
		if len(got.Enclaves) != 1 || !reflect.DeepEqual(got.Enclaves[0], want) {
			t.Errorf(" got %+v\nwant %+v", got.Enclaves, want)
		}
	})
}

func TestWhatIsNotWellComesFirst(t *testing.T) {
	healthy := pool.EnclaveStats{State: breaker.Healthy, MinConns: 2, HealthyConns: 2}
	full, short, waiting, cordoned := healthy, healthy, healthy, healthy
	full.Full = true
	short.HealthyConns = 1
	waiting.Waiters = 1
	cordoned.Cordoned = true
	p := show(t, newFake(map[string]pool.EnclaveStats{
		"a-well": healthy, "b-cordoned": cordoned, "c-draining": {State: breaker.Draining, MinConns: 2}, "d-waiting": waiting, "e-short": short,
		"f-full": full, "h-lost": {State: breaker.Degraded, Full: true}, "g-lost": {State: breaker.Degraded}, "i-well": healthy,
	}))
	var got []string
	for _, e := range read(t, p).Enclaves {
		got = append(got, fmt.Sprint(e.ID, " ", e.State, " ", e.Well))
	}
	want := []string{"g-lost degraded false", "h-lost degraded false", "f-full exhausted false", "d-waiting healthy false",
		"e-short healthy false", "c-draining draining false", "b-cordoned healthy false", "a-well healthy true", "i-well healthy true"}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func TestEventsAreRememberedPerEnclave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(map[string]pool.EnclaveStats{"a": {}, "b": {}})
		p := show(t, f)
		for i := range 20 {
			time.Sleep(time.Second)
			f.events <- breaker.Event{EnclaveID: "a", Conn: -1, From: breaker.Healthy, To: breaker.Degraded, Signal: breaker.Lost,
				At: time.Now(), Cause: fmt.Errorf("loss %d", i)}
		}
		time.Sleep(time.Second)
		f.events <- breaker.Event{EnclaveID: "a", Conn: 3, From: breaker.Degraded, To: breaker.Healthy, Signal: breaker.Admitted, At: time.Now()}
		later(time.Second)
		got := read(t, p)
		a, b := got.one(t, "a"), got.one(t, "b")
		if b.Last != nil || len(b.Events) != 0 {
			t.Errorf("b has events of others: %+v", b)
		}
		if want := (event{At: got.At - 1000, Conn: 3, Signal: "admitted", From: "degraded", To: "healthy"}); *a.Last != want {
			t.Errorf("last event %+v, want %+v", *a.Last, want)
		}
		if len(a.Events) != 8 || a.Events[0].Cause != "loss 19" || a.Events[7].Cause != "loss 12" || a.Events[0].Signal != "lost" {
			t.Errorf("events %+v", a.Events)
		}
	})
}

// waits is WaitCounts with n callers in the bucket.
func waits(bucket int, n uint64) (w pool.WaitCounts) {
	w[bucket] = n
	return w
}

func TestTheCurvesAreWhatEachSampleAdded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := pool.EnclaveStats{Waits: waits(5, 1000), StreamResets: 100} // before anybody looked
		f := newFake(map[string]pool.EnclaveStats{"a": a, "b": {}})
		p := show(t, f)
		add := func(bucket int, n uint64) {
			a.Waits[bucket] += n
			a.StreamResets++
			f.set("a", a)
		}
		later(time.Millisecond)
		add(0, 98) // 98 of 100 did not wait
		add(9, 2)
		later(2 * time.Second)
		add(3, 10)
		later(2 * time.Second)
		later(2 * time.Second) // nobody called
		got := read(t, p)
		e := got.one(t, "a")
		if want := []int{-1, 0, 3, -1}; !slices.Equal(e.Wait.P50, want) || !slices.Equal(got.Wait.P50, want) {
			t.Errorf("p50 %v, of all %v, want %v", e.Wait.P50, got.Wait.P50, want)
		}
		if want := []int{-1, 9, 3, -1}; !slices.Equal(e.Wait.P99, want) || !slices.Equal(got.Wait.P99, want) {
			t.Errorf("p99 %v, of all %v, want %v", e.Wait.P99, got.Wait.P99, want)
		}
		if e.Wait.Rate != 0 || e.Recent["stream_resets"] != 3 || e.StreamResets != 103 {
			t.Errorf("rate %v, recent %v of %d resets", e.Wait.Rate, e.Recent, e.StreamResets)
		}
		add(0, 500)
		later(2 * time.Second)
		if got := read(t, p); got.one(t, "a").Wait.Rate != 250 || got.one(t, "b").Wait.Rate != 0 || got.Wait.Rate != 250 {
			t.Errorf("rates %v, %v, of all %v; want 250, 0, 250", got.one(t, "a").Wait.Rate, got.one(t, "b").Wait.Rate, got.Wait.Rate)
		}
	})
}

func TestFiveMinutesAreKeptAndNoMore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(map[string]pool.EnclaveStats{"a": {StreamResets: 1}})
		p := show(t, f)
		f.set("a", pool.EnclaveStats{StreamResets: 5})
		later(time.Hour)
		got := read(t, p)
		if e := got.one(t, "a"); len(e.Wait.P99) != 150 || len(got.Wait.P50) != 150 || e.Recent["stream_resets"] != 0 {
			t.Errorf("%d and %d points, recent %v", len(e.Wait.P99), len(got.Wait.P50), e.Recent)
		}
	})
}

func TestAnEnclaveThatIsRemovedIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(map[string]pool.EnclaveStats{"a": {}, "b": {}})
		p := show(t, f)
		f.events <- breaker.Event{EnclaveID: "b", Conn: -1, At: time.Now(), Cause: errLost}
		f.remove("b")
		later(10 * time.Second)
		if got := read(t, p); len(got.Enclaves) != 1 {
			t.Errorf("%d enclaves", len(got.Enclaves))
		}
		f.set("b", pool.EnclaveStats{})
		later(time.Second)
		if b := read(t, p).one(t, "b"); b.Last != nil || len(b.Wait.P50) > 1 {
			t.Errorf("a new enclave of the same name has a past: %+v", b)
		}
		// The first event of a new one may come before its first sample.
		f.events <- breaker.Event{EnclaveID: "c", Conn: -1, At: time.Now(), Cause: errLost}
		later(2 * time.Second)
		f.set("c", pool.EnclaveStats{})
		later(2 * time.Second)
		if c := read(t, p).one(t, "c"); c.Last == nil {
			t.Error("the first event of a new enclave was lost")
		}
	})
}
