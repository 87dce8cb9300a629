package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/internal/field"
)

// quiet is one wait for the last slot in use to come back. Whoever gives it
// back sees it through serve.
type quiet struct {
	over    bool          // guarded by the enclave's lock
	reached chan struct{} // closed when nothing is in flight
	closed  chan struct{} // closed by the keeper when the connections are
	undone  chan struct{} // closed when the drain was taken back
}

func newQuiet() *quiet {
	return &quiet{reached: make(chan struct{}), closed: make(chan struct{}), undone: make(chan struct{})}
}

// quieten lets nobody in from now on, and returns the wait for those inside.
// flag is what says so; then is posted under the same lock, so that the keeper
// sees drains and resumes in the order in which they were made.
func (e *enclave) quieten(refusal error, flag *bool, then func(*keeper)) *quiet {
	e.mu.Lock()
	*flag = true
	e.views.changes.Add(1) // whoever is refused sees why in the next View
	e.keeper.post(then)
	for _, c := range *e.open.Load() {
		c.deny()
	}
	var d deliveries
	e.refuseLocked(&d, refusal, untilContext)
	if e.quiet == nil {
		e.quiet = newQuiet()
	}
	q := e.quiet
	e.attendLocked()
	e.mu.Unlock()
	e.kickWarm()
	e.tell(&d)
	return q
}

// checkQuietLocked ends the wait for the last slot if it is over.
func (e *enclave) checkQuietLocked() {
	if q := e.quiet; q != nil && !q.over && e.inFlight() == 0 {
		q.over = true
		close(q.reached)
		e.attendLocked()
		e.keeper.post(func(k *keeper) { k.drained(q) })
	}
}

// Drain takes an enclave out of service: it admits nothing more (callers that
// queue get ErrDraining), waits until nothing is in flight, leases included,
// and closes the connections. When ctx ends first the drain goes on, and the
// error, an *Error with ctx's error, says what is left. Draining a drained
// enclave returns nil.
func (p *Pool) Drain(ctx context.Context, enclaveID string) error {
	e, err := p.enclave(enclaveID)
	if err != nil {
		return err
	}
	return e.drain(ctx)
}

func (e *enclave) drain(ctx context.Context) error {
	if e.isClosed() {
		return &Error{EnclaveID: e.id, Reason: ErrClosed}
	}
	q := e.beginDrain()
	select {
	case <-q.closed:
		return nil
	case <-q.undone:
		return &Error{EnclaveID: e.id, Reason: errDrainUndone}
	case <-e.keeper.done:
		return &Error{EnclaveID: e.id, Reason: ErrClosed}
	case <-ctx.Done():
		return &Error{EnclaveID: e.id, Reason: ctx.Err(),
			Cause: fmt.Errorf("the drain goes on, %d calls or leases are in flight", e.inFlight())}
	}
}

// beginDrain admits nothing more.
func (e *enclave) beginDrain() *quiet {
	q := e.quieten(&Error{EnclaveID: e.id, Reason: ErrDraining, RetryAfter: e.cfg.Load().reconnect.Max}, &e.draining, (*keeper).hold)
	e.serve() // there may be nothing to wait for
	return q
}

// errDrainUndone is the Reason of a Drain that a Resume has ended.
var errDrainUndone = errors.New("drain taken back by Resume")

// hold stops dialling and takes the enclave's connections from callers' sight.
func (k *keeper) hold() {
	if k.held {
		return
	}
	k.held = true
	now := time.Now()
	for _, p := range k.places {
		if p.attempt != nil {
			k.abandon(p)
		}
		if p.conn != nil {
			k.e.withdraw(p.conn)
			k.mark(p, breaker.Retired, nil, now)
		}
	}
	k.signal(breaker.Retired, nil, now)
	k.e.log.Info("draining", "in_flight", k.e.inFlight())
	k.e.changed()
}

// drained closes the connections of a drain that is through.
func (k *keeper) drained(q *quiet) {
	k.e.mu.Lock()
	wanted := k.e.draining && k.e.quiet == q
	k.e.mu.Unlock()
	if !wanted {
		return // taken back, or closing: that closes them itself
	}
	var closing sync.WaitGroup
	for _, p := range k.places {
		if c := p.conn; c != nil {
			p.conn = nil
			closing.Add(1)
			k.leaveThen(c, closing.Done)
		}
	}
	k.e.log.Info("drained")
	k.probes.Go(func() {
		closing.Wait()
		close(q.closed)
	})
}

// Resume puts a draining or drained enclave back into service: connections
// that are still open are used again, the others are dialled. It returns at
// once; Ready waits. For an enclave that is not draining it does nothing.
func (p *Pool) Resume(enclaveID string) error {
	e, err := p.enclave(enclaveID)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return &Error{EnclaveID: e.id, Reason: ErrClosed}
	case !e.draining:
		return nil
	}
	e.draining = false
	e.outage = nil // callers wait for the connections to come back, for the budget
	select {
	case <-e.quiet.closed:
	default:
		close(e.quiet.undone)
	}
	e.quiet = nil
	e.attendLocked()
	e.keeper.post((*keeper).resume)
	return nil
}

// resume dials again, and first takes back what is still connected.
func (k *keeper) resume() {
	k.e.mu.Lock()
	draining := k.e.draining || k.e.closed
	k.e.mu.Unlock()
	if !k.held || draining {
		return // drained once more in the meantime
	}
	k.held = false
	now := time.Now()
	k.outage = outage{since: now}
	k.e.setOutage(nil)
	k.signal(breaker.Resumed, nil, now)
	k.e.log.Info("resumed")
	for _, p := range k.places {
		k.mark(p, breaker.Resumed, nil, now)
		if c := p.conn; c == nil {
			p.next, p.released = now, true
		} else if c.ready.Load() && !c.suspended && k.e.publish(c) {
			k.mark(p, breaker.Restored, nil, now)
			if !k.outage.since.IsZero() {
				k.recovered(c, breaker.Restored, nil, now)
			}
		}
	}
	k.fit()
	k.e.changed()
	k.e.serve()
}

// Resize changes between how many connections an enclave has, at once: missing
// ones are opened, those beyond the maximum leave, the idlest first, when what
// is in flight on them is done. 1 <= minConns <= maxConns <= 1024; anything
// else is ErrConfig and changes nothing.
func (p *Pool) Resize(enclaveID string, minConns, maxConns int) error {
	e, err := p.enclave(enclaveID)
	if err != nil {
		return err
	}
	var c field.Checks
	checkSizes(&c, minConns, maxConns)
	if problems := c.All(); len(problems) > 0 {
		return configErrors(problems)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return &Error{EnclaveID: e.id, Reason: ErrClosed}
	}
	e.minConns.Store(int32(minConns))
	e.maxConns.Store(int32(maxConns))
	e.keeper.post((*keeper).fit)
	return nil
}

// closing says that the enclave is on its way out.
func (k *keeper) closing() {
	now := time.Now()
	cause := ErrClosed
	if k.e.replaced.Load() {
		cause = errRemoved
	}
	for _, p := range k.places {
		if p.conn != nil {
			k.mark(p, breaker.Retired, cause, now)
		}
	}
	k.signal(breaker.Retired, cause, now)
	k.e.changed()
}

// errRemoved is the cause of an event about an enclave that a new Config leaves
// out.
var errRemoved = errors.New("removed from the configuration")

// close lets nothing new in, waits for what is in flight until ctx ends, and
// ends the rest; the error says how much that was.
func (e *enclave) close(ctx context.Context) error {
	reason := ErrClosed
	if e.replaced.Load() {
		reason = ErrDraining
	}
	q := e.quieten(&Error{EnclaveID: e.id, Reason: reason}, &e.closed, (*keeper).closing)
	e.serve() // there may be nothing to wait for

	var err error
	select {
	case <-q.reached:
	case <-ctx.Done():
		if n := e.inFlight(); n > 0 {
			err = &Error{EnclaveID: e.id, Reason: ctx.Err(), Disposition: Unknown,
				Cause: fmt.Errorf("%d calls or leases in flight were cut", n)}
		}
	}
	e.keeper.post((*keeper).shutdown)
	<-e.keeper.done
	e.awaitLoss()
	return errors.Join(err, e.channel.Close())
}

// lossTimeout bounds the wait for gRPC to notice that a socket was closed.
const lossTimeout = 25 * time.Millisecond

// awaitLoss gives gRPC the moment it needs to fail the calls that were cut
// with Unavailable; closing the channel would make them Canceled.
func (e *enclave) awaitLoss() {
	timeout := time.NewTimer(lossTimeout)
	defer timeout.Stop()
	for _, c := range *e.open.Load() {
		select {
		case <-c.lost:
		case <-timeout.C:
			return
		}
	}
}
