package pool

import (
	"fmt"
	"net"
	"testing"

	"github.com/enclavepool/enclavepool/internal/h2tap"
)

// BenchmarkStats takes a snapshot of 1 000 enclaves with 16 connections each,
// every one with some calls in flight.
func BenchmarkStats(b *testing.B) {
	const enclaves, conns = 1000, 16
	p := &Pool{}
	set := &enclaveSet{byID: map[string]*enclave{}}
	limits := make([]uint32, conns)
	for i := range limits {
		limits[i] = 100
	}
	// One byte read, so that LastRead has a value to work out.
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	go there.Write([]byte{0})
	for i := range enclaves {
		e := newBareEnclave(limits...)
		e.id = fmt.Sprintf("enclave-%04d", i)
		for _, c := range *e.open.Load() {
			tap := h2tap.New(here, c)
			if i == 0 && c.index == 0 {
				if _, err := tap.Read(make([]byte, 1)); err != nil {
					b.Fatal(err)
				}
			}
			c.tap.Store(tap)
			c.admits = true
			c.slots.reserve(c.slots.word.Load())
		}
		set.byID[e.id] = e
		set.all = append(set.all, e)
	}
	p.enclaves.Store(set)

	b.ReportAllocs()
	var s Stats
	for b.Loop() {
		s = p.Stats()
	}
	if e := s.Enclaves["enclave-0999"]; len(s.Enclaves) != enclaves || e.InFlight != conns || e.Capacity != conns*100 {
		b.Fatalf("%d enclaves, the last with %d in flight of %d", len(s.Enclaves), e.InFlight, e.Capacity)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(enclaves*conns), "ns/conn")
}
