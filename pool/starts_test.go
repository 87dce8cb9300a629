package pool

import (
	"slices"
	"testing"
)

func TestRoomForAttemptsGoesRoundTheEnclavesInTheOrderOfTheirComing(t *testing.T) {
	s := &starts{most: 2}
	a, b, c := &keeper{wake: make(chan struct{}, 1)}, &keeper{wake: make(chan struct{}, 1)}, &keeper{wake: make(chan struct{}, 1)}
	if !s.take(a) || !s.take(a) {
		t.Fatal("there was room for two")
	}
	for _, k := range []*keeper{b, c, b} { // asking again keeps the place in line
		if s.take(k) {
			t.Fatal("a third got in")
		}
	}
	if !slices.Equal(s.line, []*keeper{b, c}) {
		t.Fatalf("line of %d, want b, c", len(s.line))
	}
	s.give()
	if len(b.wake) != 1 || s.take(a) || s.take(c) || !s.take(b) {
		t.Error("the room was not kept for the first in line, or that was not woken")
	}
	s.give()
	s.give()
	if !c.room || !a.room || s.under != 2 {
		t.Errorf("%d have room, want c and a", s.under)
	}
	s.forgo(c)
	s.leave(a)
	if s.under != 0 || len(s.line) != 0 || a.room || c.room {
		t.Errorf("%d still have room", s.under)
	}
}

func TestAKeeperThatEndsLeavesTheLine(t *testing.T) {
	s := &starts{most: 1}
	a, b, c := &keeper{wake: make(chan struct{}, 1)}, &keeper{wake: make(chan struct{}, 1)}, &keeper{wake: make(chan struct{}, 1)}
	if !s.take(a) || s.take(b) || s.take(c) {
		t.Fatal("want room for one")
	}
	s.leave(b)
	s.give()
	if b.room || !c.room {
		t.Error("room was handed to a keeper that has ended")
	}
}
