package pool

import "time"

// keep is the goroutine that keeps the minimum open, and one idle stream
// ahead of need, and that closes streams which are no longer wanted. Callers
// do not wait for it.
func (t *warmSet) keep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		news := t.e.nextNews()
		t.refuse()
		t.weed()
		var next alarm
		now := time.Now()
		t.fill(now, &next)
		t.expire(now, &next)
		timer.Stop()
		if !next.at.IsZero() {
			timer.Reset(next.at.Sub(now))
		}
		select {
		case <-t.wake:
		case <-news: // connections have come or gone
		case <-timer.C:
		case <-t.ctx.Done():
			return
		case <-t.e.keeper.done:
			t.shut()
			t.owner.forget(t)
			return
		}
	}
}

// nextNews is closed at the next change of connections.
func (e *enclave) nextNews() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.news
}

// refuse tells those who wait for a stream that there will be none.
func (t *warmSet) refuse() {
	t.mu.Lock()
	waits := t.line.n > 0
	t.mu.Unlock()
	if !waits {
		return
	}
	for _, p := range []patience{untilBudget, notAtAll} {
		if err := t.e.refusal(p); err != nil {
			t.mu.Lock()
			t.line.refuseLocked(err, p)
			t.mu.Unlock()
			return
		}
	}
}

// weed closes the idle streams whose connection admits no more, or is over its
// limit.
func (t *warmSet) weed() {
	for _, s := range *t.all.Load() {
		// gRPC ends the streams of a connection that is lost; should it miss one,
		// no answer would ever come.
		if !s.lease.conn.Load().ready.Load() && s.doomed.CompareAndSwap(false, true) {
			time.AfterFunc(lossTimeout, func() {
				s.watch.fire(connLost)
				s.cancel()
			})
		}
	}
	var gone []*warmStream
	t.mu.Lock()
	over := map[*conn]uint32{} // how many slots too many are in use
	for i := 0; i < len(t.idle); {
		s := t.idle[i]
		if s.welcome() {
			i++
			continue
		}
		c := s.lease.conn.Load()
		used, limit := c.slots.load()
		if _, seen := over[c]; !seen && limit > 0 {
			over[c] = max(used, limit+1) - limit
		}
		if limit > 0 {
			if over[c] == 0 {
				i++ // enough of its kind have gone
				continue
			}
			over[c]--
		}
		gone = append(gone, t.takeLocked(i))
		t.forgetLocked(s)
		t.vacateLocked()
	}
	t.mu.Unlock()
	for _, s := range gone {
		s.end()
	}
}

// fill opens what is missing: up to the minimum, and one idle stream.
func (t *warmSet) fill(now time.Time, next *alarm) {
	t.mu.Lock()
	if t.resting && t.restUntil.IsZero() {
		pause := restPause
		if n := t.failures; n > 0 {
			pause = min(t.e.cfg.Load().reconnect.Initial<<min(n, 10), restPause)
		}
		t.restUntil = now.Add(pause)
	}
	if t.resting && !now.Before(t.restUntil) {
		t.resting, t.restUntil = false, time.Time{}
	}
	missing := t.opts.min - t.places
	if missing <= 0 && len(t.idle) == 0 && t.opening == 0 && t.opts.min > 0 && t.line.n == 0 {
		missing = 1
	}
	missing = min(missing, t.opts.max-t.places)
	resting, closed := t.resting, t.closed
	t.mu.Unlock()
	if missing <= 0 || closed || len(*t.e.admitted.Load()) == 0 {
		return // a change of connections is news
	}
	if resting {
		next.no(t.restUntil)
		return
	}
	for range missing {
		l := t.e.spare()
		if l == nil {
			t.mu.Lock()
			t.resting = true
			t.mu.Unlock()
			t.restUntil = now.Add(restPause)
			next.no(t.restUntil)
			return
		}
		t.mu.Lock()
		full := t.places >= t.opts.max || t.closed
		if !full {
			t.places++
			t.opening++
		}
		t.mu.Unlock()
		if full {
			l.Release()
			return
		}
		go t.openAhead(l)
	}
}

// expire closes the streams beyond the minimum that have not been used for a
// whole period: those at the bottom of the stack.
func (t *warmSet) expire(now time.Time, next *alarm) {
	period := t.opts.idleTimeout
	if period == 0 {
		return
	}
	ahead := min(t.opts.min, 1)
	var gone []*warmStream
	t.mu.Lock()
	switch {
	case t.places <= t.opts.min:
		t.expireAt = time.Time{}
	case t.expireAt.IsZero():
		t.expireAt = now.Add(period)
		t.low = len(t.idle)
	case !now.Before(t.expireAt):
		for n := min(t.low, len(t.idle)-ahead, t.places-t.opts.min); n > 0; n-- {
			s := t.takeLocked(0)
			gone = append(gone, s)
			t.forgetLocked(s)
			t.vacateLocked()
		}
		t.low = len(t.idle)
		t.expireAt = now.Add(period)
	}
	if !t.expireAt.IsZero() {
		next.no(t.expireAt)
	}
	t.mu.Unlock()
	for _, s := range gone {
		s.end()
	}
}
