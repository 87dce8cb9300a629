package pool

import "time"

// How the number of connections follows the load. Callers only say that a
// connection they chose was rather full; the keeper looks at the whole and
// decides, one decision at a time.
const (
	// growBelow: with less than this share of the slots free, connections are
	// added, before the last one is taken.
	growBelow = 0.25
	// growPause is the least time between two looks at the load, so that
	// callers who all say the same cost one look.
	growPause = 5 * time.Millisecond
	// shrinkTo: a connection is surplus when without it less than this share
	// of the slots would be in use.
	shrinkTo = 0.5
	// quietPeriod is how long a connection has to have been surplus, looked at
	// every shrinkPause, before the first one leaves; then one leaves at every
	// look.
	quietPeriod = 30 * time.Second
	shrinkPause = time.Second
)

// load is what a decision about the size is made on.
type load struct {
	conns, minConns, maxConns int
	inFlight, capacity        int
	waiters                   int
}

// growth returns by how many connections to grow, 0 for none: a quarter of
// what there is, since load that outgrows one step will most likely outgrow
// the next.
func (l load) growth() int {
	free := l.capacity - l.inFlight
	if l.conns >= l.maxConns || l.capacity == 0 {
		return 0 // with no capacity it is lost, not busy
	}
	if l.waiters == 0 && float64(free) >= growBelow*float64(l.capacity) {
		return 0
	}
	return min(max(1, l.conns/4), l.maxConns-l.conns)
}

// surplus tells whether one connection fewer would do with room to spare.
func (l load) surplus() bool {
	if l.conns <= l.minConns || l.waiters > 0 || l.capacity == 0 {
		return false
	}
	left := float64(l.capacity) * float64(l.conns-1) / float64(l.conns)
	return float64(l.inFlight) < shrinkTo*left
}

// sizing is the keeper's memory for these decisions.
type sizing struct {
	lookAt    time.Time // next look for growth; zero: none asked for
	shrinkAt  time.Time // next look for surplus
	surplusAt time.Time // since when there is one; zero: there is none
}

// press is called by callers that found a connection rather full.
func (e *enclave) press() {
	if !e.pressed.Load() && e.pressed.CompareAndSwap(false, true) {
		e.keeper.post(func(k *keeper) {
			if k.sizing.lookAt.IsZero() {
				k.sizing.lookAt = time.Now()
			}
		})
	}
}

// load reads the present load.
func (k *keeper) load() load {
	e := k.e
	l := load{conns: len(k.places), minConns: int(e.minConns.Load()), maxConns: int(e.maxConns.Load())}
	l.inFlight, l.capacity = e.usage()
	l.inFlight = max(l.inFlight-e.idleWarm(), 0) // idle streams give way
	e.mu.Lock()
	l.waiters = max(e.queue.len()-int(e.yielding.Load()), 0)
	e.mu.Unlock()
	return l
}

// stepSizing looks at the load when somebody asked, and for surplus while there
// are more connections than the minimum.
func (k *keeper) stepSizing(now time.Time, next *alarm) {
	s := &k.sizing
	if k.held {
		*s = sizing{}
		k.e.pressed.Store(false)
		return
	}
	if !s.lookAt.IsZero() && !now.Before(s.lookAt) {
		s.lookAt = time.Time{}
		if k.connecting() {
			// The last decision is still being carried out; admit asks for the
			// next look, and until then nobody needs to.
			k.e.pressed.Store(true)
		} else if !k.rampAt.IsZero() {
			s.lookAt = k.rampAt // the limits grow by themselves
		} else if n := k.load().growth(); n > 0 {
			k.addPlaces(n, now)
			k.stepPlaces(now, next)
			k.e.log.Debug("growing", "conns", len(k.places))
			s.surplusAt = time.Time{}
			s.lookAt = now.Add(growPause)
		} else if k.e.pressed.Swap(false) {
			// Let callers speak up again, but look no sooner than after a pause.
			s.lookAt = now.Add(growPause)
		}
	}
	if !s.lookAt.IsZero() {
		next.no(s.lookAt)
	}
	if len(k.places) <= int(k.e.minConns.Load()) {
		s.shrinkAt, s.surplusAt = time.Time{}, time.Time{}
		return
	}
	if !now.Before(s.shrinkAt) {
		s.shrinkAt = now.Add(shrinkPause)
		switch {
		case !k.load().surplus():
			s.surplusAt = time.Time{}
		case s.surplusAt.IsZero():
			s.surplusAt = now
		case now.Sub(s.surplusAt) >= quietPeriod:
			k.removePlaces(1)
			k.e.log.Debug("shrinking", "conns", len(k.places))
		}
	}
	next.no(s.shrinkAt)
}

// connecting tells whether a connection that was decided on is not there yet.
func (k *keeper) connecting() bool {
	for _, p := range k.places {
		if p.conn == nil {
			return true
		}
	}
	return false
}

// fit brings the number of places within the bounds, after they have changed.
func (k *keeper) fit() {
	have, least, most := len(k.places), int(k.e.minConns.Load()), int(k.e.maxConns.Load())
	if have < least {
		k.addPlaces(least-have, time.Now())
	} else if have > most {
		k.removePlaces(have - most)
	}
	k.e.changed()
}

// fullness is the time during which the pool, at its greatest, had no slot left.
type fullness struct {
	since     time.Time // zero: it is not so
	calmSince time.Time // free slots and no queue since then
	lookAt    time.Time
}

const (
	fullPause = 100 * time.Millisecond
	fullCalm  = time.Second // how long there has to be room again
)

// crowded is called by callers that found no slot. refused: the queue had no
// place for them either.
func (e *enclave) crowded(refused bool) {
	grows := !refused && int(e.wanted.Load()) < int(e.maxConns.Load())
	if grows && e.pressed.Load() || !grows && e.full.Load() {
		return // the keeper knows; the look at every connection is spared
	}
	if _, capacity := e.usage(); capacity == 0 || e.ramp.Load() > 0 {
		return // lost, or just back; not full
	}
	if grows {
		e.press()
		return
	}
	if e.full.CompareAndSwap(false, true) {
		e.keeper.post(func(k *keeper) {
			l, now := k.load(), time.Now()
			k.full = fullness{since: now, lookAt: now.Add(fullPause)}
			k.e.log.Warn("pool exhausted: every slot is taken", "conns", l.conns, "max_conns", l.maxConns,
				"in_flight", l.inFlight, "capacity", l.capacity, "waiters", l.waiters)
		})
	}
}

// stepFullness notices when an exhausted pool has had room for a while.
func (k *keeper) stepFullness(now time.Time, next *alarm) {
	f := &k.full
	if f.since.IsZero() {
		return
	}
	if !now.Before(f.lookAt) {
		f.lookAt = now.Add(fullPause)
		switch l := k.load(); {
		case l.waiters > 0 || l.inFlight >= l.capacity:
			f.calmSince = time.Time{}
		case f.calmSince.IsZero():
			f.calmSince = now
		case now.Sub(f.calmSince) >= fullCalm:
			k.e.log.Info("pool no longer exhausted", "after", f.calmSince.Sub(f.since))
			*f = fullness{}
			k.e.full.Store(false)
			return
		}
	}
	next.no(f.lookAt)
}
