package pool

import (
	"runtime"
	"slices"
	"sync"
)

// starts bounds how many attempts that wait for no turn of their enclave's, since
// it is new or has just come back, are under way over all enclaves. Each takes a
// part of a millisecond of a processor, and has DialTimeout: a thousand enclaves
// that begin theirs together have no connection when that is over, and begin
// again, for ever. So an enclave that finds no room gets in line, and whoever is
// first gets the room that an attempt leaves: one attempt for each enclave in
// turn, so that all get their first connection before any gets its last.
//
// An enclave that accepts and hangs keeps the room of its attempts for
// DialTimeout; but after the first that fails the others are no longer released.
// All other attempts get in no line: those on an enclave that is away are few
// (see gate) and must find out soon that it is back, and the replacement of a
// connection lost while others live has 200ms.
type starts struct {
	most int

	mu    sync.Mutex
	under int       // under way, room that was handed to a keeper included
	line  []*keeper // oldest first, each at most once
}

const (
	startsPerProcessor = 32
	fewestStarts       = 64
)

func mostStarts() int { return max(fewestStarts, startsPerProcessor*runtime.GOMAXPROCS(0)) }

// take makes room for an attempt of k. If there is none k gets in line, and is
// woken when it has some.
func (s *starts) take(k *keeper) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case k.room:
		k.room = false
		return true
	case s.under < s.most && len(s.line) == 0:
		s.under++
		return true
	case !k.inLine:
		k.inLine = true
		s.line = append(s.line, k)
	}
	return false
}

// give takes the room of one attempt back, for whoever is next.
func (s *starts) give() {
	s.mu.Lock()
	s.under--
	next := s.nextLocked()
	s.mu.Unlock()
	if next != nil {
		next.post(func(*keeper) {}) // its turn is all the news
	}
}

// nextLocked hands the room that there is to the first in line.
func (s *starts) nextLocked() *keeper {
	if s.under >= s.most || len(s.line) == 0 {
		return nil
	}
	k := s.line[0]
	s.line = slices.Delete(s.line, 0, 1)
	k.inLine, k.room = false, true
	s.under++
	return k
}

// forgo gives back the room that k was handed and has found no use for.
func (s *starts) forgo(k *keeper) {
	s.mu.Lock()
	unused := k.room
	k.room = false
	s.mu.Unlock()
	if unused {
		s.give()
	}
}

// leave is forgo for a keeper that ends: it is not in line any more either.
func (s *starts) leave(k *keeper) {
	s.mu.Lock()
	s.line = slices.DeleteFunc(s.line, func(o *keeper) bool { return o == k })
	k.inLine = false
	s.mu.Unlock()
	s.forgo(k)
}

// mayStart tells whether there is room for p's attempt, which is due.
func (k *keeper) mayStart(p *place) bool {
	if p.released {
		p.counted = k.e.starts.take(k)
		return p.counted
	}
	return true
}

// takeTurns makes all attempts on an enclave that has refused one wait for their
// turn, those that have found no room until now.
func (k *keeper) takeTurns() {
	for _, p := range k.places {
		p.released = false
	}
}

// ended gives back the room of p's attempt, if it still has it.
func (k *keeper) ended(p *place) {
	if p.counted {
		p.counted = false
		k.e.starts.give()
	}
}
