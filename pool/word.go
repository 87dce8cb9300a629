package pool

import (
	"math"
	"sync/atomic"
)

// slotWord is the admission state of one connection in one atomic word, so
// that a single compare-and-swap checks and reserves:
//
//	bits  0–15  slots in use
//	bits 16–31  limit: how many may be; 0 admits nobody (lost, draining)
//	bits 32–63  slots ever reserved, modulo 2³²
//
// The counter at the top saves a second atomic operation on the hot path; its
// carries are kept in wraps, by whoever causes one.
//
// The padding keeps two connections' words off one cache line (and off the
// pair that x86 prefetches together).
type slotWord struct {
	_     [64]byte
	word  atomic.Uint64
	wraps atomic.Uint64
	_     [112]byte
}

const (
	oneInUse    = 1
	oneReserved = 1 << 32
	inUseMask   = 1<<16 - 1
	limitShift  = 16
	limitMask   = inUseMask << limitShift
)

func inUse(w uint64) uint32   { return uint32(w & inUseMask) }
func limitOf(w uint64) uint32 { return uint32(w & limitMask >> limitShift) }

// load returns how many slots are in use, and the limit.
func (s *slotWord) load() (used, limit uint32) {
	w := s.word.Load()
	return inUse(w), limitOf(w)
}

// reserve takes a slot if one is free, and returns its serial: how many had
// been reserved before. w is what the caller last read.
func (s *slotWord) reserve(w uint64) (serial uint32, ok bool) {
	for {
		if inUse(w) >= limitOf(w) {
			return 0, false
		}
		if s.word.CompareAndSwap(w, w+oneInUse+oneReserved) {
			return s.carry(w), true
		}
		w = s.word.Load()
	}
}

// release gives a slot back.
func (s *slotWord) release() { s.word.Add(math.MaxUint64) } // −1

// pass counts a slot that goes from one holder straight to the next, and
// returns its new serial. It fails when the connection admits no more, or less
// than it has: the slot is then still the holder's, to be released.
func (s *slotWord) pass() (serial uint32, ok bool) {
	for {
		w := s.word.Load()
		if inUse(w) > limitOf(w) {
			return 0, false
		}
		if s.word.CompareAndSwap(w, w+oneReserved) {
			return s.carry(w), true
		}
	}
}

// setLimit changes the limit; what is in use beyond it may stay.
func (s *slotWord) setLimit(limit uint32) {
	for {
		w := s.word.Load()
		if s.word.CompareAndSwap(w, w&^limitMask|uint64(limit)<<limitShift) {
			return
		}
	}
}

// carry is called by whoever has just added oneReserved to w. It returns the
// serial of that slot.
func (s *slotWord) carry(w uint64) uint32 {
	serial := uint32(w >> 32)
	if serial == math.MaxUint32 {
		s.wraps.Add(1)
	}
	return serial
}

// reserved returns how many slots have ever been reserved. Around a carry it
// may be short by 2³² for an instant.
func (s *slotWord) reserved() uint64 { return s.wraps.Load()<<32 + s.word.Load()>>32 }
