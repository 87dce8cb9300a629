package faults

import (
	"sync"
	"time"
)

const (
	// stallEvery is how often the watch wakes up, stallLimit how much later than that it notes as a stall: half of what
	// the pool gives an enclave to answer a health probe.
	stallEvery = 5 * time.Millisecond
	stallLimit = 25 * time.Millisecond
)

// stalls are the times at which this process did not get a processor although it wanted one. The enclaves share the
// machine, so what stalls here may have stalled them, and a connection to a stalled enclave is rightly called silent.
type stalls struct {
	mu   sync.Mutex
	list [][2]time.Time
	stop chan struct{}
	done chan struct{}
}

func watchStalls() *stalls {
	s := &stalls{stop: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *stalls) run() {
	defer close(s.done)
	tick := time.NewTimer(stallEvery)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-tick.C:
		case <-s.stop:
			return
		}
		now := time.Now()
		if now.Sub(last) > stallEvery+stallLimit {
			s.mu.Lock()
			s.list = append(s.list, [2]time.Time{last, now})
			s.mu.Unlock()
		}
		last = now
		tick.Reset(stallEvery)
	}
}

// within reports whether there was a stall between two moments.
func (s *stalls) within(from, to time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.list {
		if l[1].After(from) && l[0].Before(to) {
			return true
		}
	}
	return false
}

func (s *stalls) close() {
	close(s.stop)
	<-s.done
}
