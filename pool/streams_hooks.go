package pool

import "slices"

// What an enclave has to know of the warm streams to it. A set's lock comes
// after the enclave's: nothing here is called by a set that holds its own.

// keepWarm starts keeping streams to every enclave, those of later Configs
// included.
func (p *Pool) keepWarm(ws *warmStreams) {
	p.updating.Lock()
	defer p.updating.Unlock()
	p.streams = append(p.streams, ws)
	for _, e := range p.all() {
		ws.setFor(e)
	}
}

// letCool is the end of keepWarm.
func (p *Pool) letCool(ws *warmStreams) {
	p.updating.Lock()
	defer p.updating.Unlock()
	p.streams = slices.DeleteFunc(p.streams, func(o *warmStreams) bool { return o == ws })
}

// warmSets returns the sets of warm streams, one for each Streams.
func (e *enclave) warmSets() []*warmSet {
	if sets := e.warm.Load(); sets != nil {
		return *sets
	}
	return nil
}

func (e *enclave) addWarm(t *warmSet) {
	e.mu.Lock()
	sets := append(slices.Clone(e.warmSets()), t)
	e.warm.Store(&sets)
	e.attendLocked() // the number matters from now on
	e.mu.Unlock()
}

func (e *enclave) removeWarm(t *warmSet) {
	e.mu.Lock()
	sets := slices.DeleteFunc(slices.Clone(e.warmSets()), func(o *warmSet) bool { return o == t })
	if len(sets) < len(e.warmSets()) {
		e.warm.Store(&sets)
		e.exchanged.Add(t.exchanges())
	}
	e.mu.Unlock()
}

// yieldWarm closes one idle stream for somebody who has joined the queue: its
// slot comes to the oldest there. False: there is none to close.
func (e *enclave) yieldWarm() bool {
	for _, t := range e.warmSets() {
		if t.yield() {
			return true
		}
	}
	return false
}

// kickWarm has the sets look at their streams: a connection admits no more, or
// fewer. It does not block and takes no lock.
func (e *enclave) kickWarm() {
	for _, t := range e.warmSets() {
		t.kick()
	}
}

// idleWarm counts the slots that idle streams hold.
func (e *enclave) idleWarm() int {
	n := 0
	for _, t := range e.warmSets() {
		t.mu.Lock()
		n += len(t.idle)
		t.mu.Unlock()
	}
	return n
}

// exchanges returns how many exchanges have begun; it grows with every one.
func (e *enclave) exchanges() uint64 {
	var n uint64
	for _, t := range e.warmSets() {
		n += t.exchanges()
	}
	return n
}

// idleByConn is idleWarm for each connection.
func (e *enclave) idleByConn() map[*conn]int {
	sets := e.warmSets()
	if len(sets) == 0 {
		return nil
	}
	idle := make(map[*conn]int)
	for _, t := range sets {
		t.mu.Lock()
		for _, s := range t.idle {
			idle[s.lease.conn.Load()]++
		}
		t.mu.Unlock()
	}
	return idle
}

// countIdle notes for every connection how many idle streams it carries: they
// wait for nothing, so its silence says nothing.
func (k *keeper) countIdle() {
	sets := k.e.warmSets()
	if len(sets) == 0 {
		return
	}
	for _, p := range k.places {
		if p.conn != nil {
			p.conn.idleWarm = 0
		}
	}
	for _, t := range sets {
		t.mu.Lock()
		for _, s := range t.idle {
			s.lease.conn.Load().idleWarm++
		}
		t.mu.Unlock()
	}
}

// refusal returns why somebody of such patience may not wait for a stream now;
// nil: one may.
func (e *enclave) refusal(patience patience) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.refusalLocked(patience)
}
